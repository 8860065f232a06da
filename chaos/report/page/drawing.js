// One drawing of all lanes above one another, as wide as there is room, of the time that is in sight.

class Drawing {
  // `inside` is cut at the edges of the plot; scales and titles stand outside of it.
  constructor(report, time, width) {
    this.report = report;
    this.time = time;
    this.width = width;
    this.plot = { left: width < 560 ? 58 : 82, right: width - 8 };
    const scale = (this.plot.right - this.plot.left) / time.lengthS;
    this.x = (seconds) => this.plot.left + (seconds - time.fromS) * scale;
    this.inside = drawn('g', { 'clip-path': 'url(#plot)' });
    this.outside = drawn('g');
    this.axis(11);
    const charts = this.outages(this.faults(20));
    const bottom = this.leaders(this.charts(charts));
    this.axis(bottom + 14);
    this.height = bottom + 20;
  }

  get parts() {
    const clip = { x: this.plot.left, y: 0, width: this.plot.right - this.plot.left, height: this.height };
    const plot = drawn('clipPath', { id: 'plot' }, drawn('rect', clip));
    return [drawn('defs', {}, plot, hatching()), this.shades(), this.outside, this.inside];
  }

  secondsAt(pixels) {
    return this.time.fromS + ((pixels - this.plot.left) / (this.plot.right - this.plot.left)) * this.time.lengthS;
  }

  title(text, top) {
    this.outside.append(drawn('text', { class: 'title', x: this.plot.left, y: top - 6 }, text));
  }

  label(text, y) {
    this.outside.append(drawn('text', { class: 'scale', x: this.plot.left - 6, y }, text));
  }

  axis(y) {
    for (const mark of ticks(this.time.fromS, this.time.toS, (this.plot.right - this.plot.left) / 80)) {
      const at = this.x(mark);
      this.outside.append(drawn('line', { class: 'grid', x1: at, x2: at, y1: y + 3, y2: y + 7 }),
        drawn('text', { class: 'time', x: Math.min(at, this.plot.right - 12), y }, moment(mark)));
    }
  }

  // Each of these draws from `top` on and returns where it ends.
  faults(top) {
    const { faults } = this.report;
    const rows = rowsOf(faults);
    const count = Math.max(0, ...rows.map((row) => row + 1));
    const tall = count > 8 ? 9 : 17;
    if (count) this.label('faults', top + 12);
    faults.forEach((fault, at) => {
      const next = faults.find((_, other) => other > at && rows[other] === rows[at]);
      const labels = [`${faultName(fault)} (${fault.nodes.join(', ')})`, faultName(fault), fault.kind];
      this.inside.append(drawSpan(this, fault, 'fault', labels, top + rows[at] * (tall + 2), tall,
        { endX: next ? this.x(next.from_s) : this.plot.right }));
    });
    return top + count * (tall + 2) + 4;
  }

  outages(top) {
    this.label('no writes', top + 10);
    for (const outage of this.report.outages.filter((each) => each.partition === null)) {
      const labels = [duration(outage.to_s - outage.from_s)];
      this.inside.append(drawSpan(this, outage, 'outage-all', labels, top, 13, { ink: '#ffffff' }));
    }
    const healed = this.x(this.report.healed_s);
    const before = this.plot.right - healed < 60;
    this.inside.append(drawn('text', { class: 'healed-at', x: healed + (before ? -5 : 5), y: top + 10,
      'text-anchor': before ? 'end' : 'start' }, 'healed'));
    return top + 13;
  }

  charts(top) {
    const { series } = this.report;
    const none = series.produced_per_s.map(() => 0);
    const charts = [
      ['records acknowledged per second', 96, drawRate,
        series.produced_per_s, series.not_acknowledged_per_s, 'produced'],
      ['records read per second', 60, drawRate, series.read_per_s, none, 'read'],
      ['produce latency, p50 and (dashed) p99', 84, drawLatency,
        series.produce_p50_ms, series.produce_p99_ms, 'produced'],
      ['read latency, p50 and (dashed) p99', 60, drawLatency, series.read_p50_ms, series.read_p99_ms, 'read'],
    ];
    for (const [text, height, draw, ...what] of charts) {
      this.title(text, top + 28);
      const lane = draw(this, ...what, top + 28, height);
      this.outside.append(...lane.querySelectorAll('.grid, .scale'));
      this.inside.append(lane);
      top += 28 + height;
    }
    return top;
  }

  leaders(top) {
    const { time, report } = this;
    const step = report.leaders.length > 16 ? 14 : 22;
    this.title('leaders', top + 30);
    top += 30;
    for (const { group, bands } of report.leaders) {
      this.label(cut(group, this.plot.left < 70 ? 9 : 12), top + step / 2 + 2);
      for (const band of bands.filter((each) => each.to_s >= time.fromS && each.from_s <= time.toS)) {
        const labels = [`${band.node} · term ${band.term}`, band.node];
        const colours = { ink: nodeInk(report, band.node), colour: nodeColour(report, band.node) };
        this.inside.append(drawSpan(this, band, 'band', labels, top, step - 4, colours));
      }
      for (const pause of report.pauses.filter((each) => place(each.topic, each.partition) === group)) {
        this.inside.append(drawSpan(this, pause, 'pause', [], top, step - 4));
      }
      const here = (outage) => outage.partition !== null && place(outage.topic, outage.partition) === group;
      for (const outage of report.outages.filter(here)) {
        this.inside.append(drawSpan(this, outage, 'under-outage', [], top + step - 8, 6),
          drawSpan(this, outage, 'outage', [], top + step - 7, 5));
      }
      top += step;
    }
    return top;
  }

  // What lies behind all lanes: every fault's time, no darker for more than three at once, and the healing.
  shades() {
    const behind = drawn('g', { 'clip-path': 'url(#plot)' });
    const rows = rowsOf(this.report.faults);
    for (const fault of this.report.faults.filter((_, at) => rows[at] < 3)) {
      const [left, right] = [this.x(fault.from_s), this.x(fault.to_s)];
      const box = { class: 'shade', x: left, y: 16, width: Math.max(1, right - left), height: this.height - 34 };
      behind.append(drawn('rect', box));
    }
    const healed = this.x(this.report.healed_s);
    behind.append(drawn('line', { class: 'healed', x1: healed, x2: healed, y1: 16, y2: this.height - 18 }));
    return behind;
  }
}
