// All lanes above one another on one time axis, with zoom and a pointer.

class Timeline {
  constructor(report) {
    this.report = report;
    const lastS = Math.max(report.duration_s, ...report.faults.map((fault) => fault.to_s), 0.1);
    this.time = new TimeWindow(lastS, report.series.bucket_s);
    this.time.onMove = () => this.draw();
    this.time.onPoint = () => this.point();
    this.faultRows = rowsOf(report.faults);
    this.svg = drawn('svg', {
      role: 'application', tabindex: 0, 'aria-describedby': 'keys',
      'aria-label': 'Timeline of the run: faults, rates, latencies and leaders',
      keydown: (event) => this.key(event), pointerdown: (event) => this.press(event),
      pointermove: (event) => this.move(event), pointerup: (event) => this.release(event),
      pointercancel: () => { this.pressedS = null; this.draw(); },
      pointerleave: () => { if (this.pressedS === null) this.time.point(null); },
      dblclick: () => this.time.showAll(),
    });
    this.tip = element('div', { class: 'tip', role: 'status', hidden: '' });
    this.pressedS = null;
    this.box = element('div', { class: 'timeline' }, this.svg, this.tip);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  get node() {
    const button = (label, title, act) => element('button', { type: 'button', title, click: act }, label);
    return element('section', { 'aria-label': 'Timeline' },
      element('div', { class: 'bar' },
        element('h2', {}, 'Timeline'),
        element('div', { class: 'buttons' },
          button('−', 'Show more time', () => this.time.zoom(2)),
          button('+', 'Show less time', () => this.time.zoom(0.5)),
          button('◂', 'Earlier', () => this.time.shift(-0.5)),
          button('▸', 'Later', () => this.time.shift(0.5)),
          button('All', 'Show the whole run', () => this.time.showAll()))),
      this.legend(), this.box,
      element('p', { class: 'hint', id: 'keys' }, 'Drag to zoom, double-click for the whole run. Keys: '
        + '← → move the pointer, + − zoom, 0 shows all.'));
  }

  legend() {
    const entry = (mark, text) => element('span', { class: 'entry' }, mark, text);
    const mark = (style) => element('i', { class: `mark ${style}` });
    const nodes = this.report.nodes.map((name) => {
      const swatch = mark('node');
      swatch.style.background = nodeColour(this.report, name);
      return entry(swatch, name);
    });
    return element('div', { class: 'legend' }, nodes, entry(mark('fault'), 'fault in force'),
      entry(mark('outage'), `nothing stored for ${this.report.outage_s_min} s or more`),
      entry(mark('refused'), 'not acknowledged'));
  }

  draw() {
    const width = Math.max(300, this.box.clientWidth);
    const plot = { left: width < 560 ? 58 : 82, right: width - 8 };
    const scale = (plot.right - plot.left) / this.time.lengthS;
    const x = (seconds) => plot.left + (seconds - this.time.fromS) * scale;
    [x.left, x.right, this.x, this.plot] = [plot.left, plot.right, x, plot];
    const inside = drawn('g', { 'clip-path': 'url(#plot)' });
    const outside = drawn('g');
    const height = this.drawLanes(inside, outside, plot, x);
    const clip = { x: plot.left, y: 0, width: plot.right - plot.left, height };
    this.cursor = drawn('line', { class: 'cursor', y1: 16, y2: height - 16, visibility: 'hidden' });
    this.selection = drawn('rect', { class: 'selection', y: 16, height: height - 32, visibility: 'hidden' });
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(drawn('defs', {}, drawn('clipPath', { id: 'plot' }, drawn('rect', clip)), hatching()),
      this.shades(x, height), outside, inside, this.selection, this.cursor);
    this.point();
  }

  // Returns the height. Scales and titles stand outside of the part that is cut at the edges.
  drawLanes(inside, outside, plot, x) {
    const { report: { series, faults, leaders, outages }, time } = this;
    const title = (text, top) => outside.append(drawn('text', { class: 'title', x: plot.left, y: top - 6 }, text));
    const label = (text, top) => outside.append(drawn('text', { class: 'scale', x: plot.left - 6, y: top }, text));
    const none = series.produced_per_s.map(() => 0);
    this.axis(outside, x, 11);
    let top = 20;
    const rows = this.faultRows.length ? Math.max(...this.faultRows) + 1 : 0;
    const tall = rows > 8 ? 9 : 17;
    if (rows) label('faults', top + 12);
    faults.forEach((fault, at) => {
      const next = faults.find((_, other) => other > at && this.faultRows[other] === this.faultRows[at]);
      const labels = [`${faultName(fault)} (${fault.nodes.join(', ')})`, faultName(fault), fault.kind];
      inside.append(drawSpan(x, fault, 'fault', labels, top + this.faultRows[at] * (tall + 2), tall,
        { endX: next ? x(next.from_s) : x.right }));
    });
    top += rows * (tall + 2) + 4;
    label('no writes', top + 10);
    const [healed, before] = [x(this.report.healed_s), x.right - x(this.report.healed_s) < 60];
    inside.append(drawn('text', { class: 'healed-at', x: healed + (before ? -5 : 5), y: top + 10,
      'text-anchor': before ? 'end' : 'start' }, 'healed'));
    outages.filter((outage) => outage.partition === null).forEach((outage) => inside.append(
      drawSpan(x, outage, 'outage-all', [duration(outage.to_s - outage.from_s)], top, 13, { ink: '#ffffff' })));
    const charts = [
      ['records acknowledged per second', 96, (at, height) => drawRate(plot, time, x, series,
        series.produced_per_s, series.not_acknowledged_per_s, 'produced', at, height)],
      ['records read per second', 60, (at, height) => drawRate(plot, time, x, series,
        series.read_per_s, none, 'read', at, height)],
      ['produce latency, p50 and (dashed) p99', 84, (at, height) => drawLatency(plot, time, x, series,
        series.produce_p50_ms, series.produce_p99_ms, 'produced', at, height)],
      ['read latency, p50 and (dashed) p99', 60, (at, height) => drawLatency(plot, time, x, series,
        series.read_p50_ms, series.read_p99_ms, 'read', at, height)],
    ];
    top += 13;
    for (const [text, height, chart] of charts) {
      top += 28;
      title(text, top);
      const lane = chart(top, height);
      outside.append(...lane.querySelectorAll('.grid, .scale'));
      inside.append(lane);
      top += height;
    }
    top += 30;
    title('leaders', top);
    const step = leaders.length > 16 ? 14 : 22;
    for (const { group, bands } of leaders) {
      label(cut(group, plot.left < 70 ? 9 : 12), top + step / 2 + 2);
      bands.filter((band) => band.to_s >= time.fromS && band.from_s <= time.toS).forEach((band) => inside.append(
        drawSpan(x, band, 'band', [`${band.node} · term ${band.term}`, band.node], top, step - 4,
          { ink: nodeInk(this.report, band.node), colour: nodeColour(this.report, band.node) })));
      outages.filter((outage) => outage.partition !== null && place(outage.topic, outage.partition) === group)
        .forEach((outage) => inside.append(drawSpan(x, outage, 'under-outage', [], top + step - 8, 6),
          drawSpan(x, outage, 'outage', [], top + step - 7, 5)));
      top += step;
    }
    this.axis(outside, x, top + 14);
    return top + 20;
  }

  axis(into, x, y) {
    const marks = ticks(this.time.fromS, this.time.toS, (x.right - x.left) / 80);
    for (const mark of marks) {
      into.append(drawn('line', { class: 'grid', x1: x(mark), x2: x(mark), y1: y + 3, y2: y + 7 }));
      into.append(drawn('text', { class: 'time', x: Math.min(x(mark), x.right - 12), y }, moment(mark)));
    }
  }

  // What lies behind all lanes: every fault's time, and the moment of healing.
  shades(x, height) {
    const behind = drawn('g', { 'clip-path': 'url(#plot)' });
    for (const fault of this.report.faults) {
      const width = Math.max(1, x(fault.to_s) - x(fault.from_s));
      behind.append(drawn('rect', { class: 'shade', x: x(fault.from_s), y: 16, width, height: height - 34 }));
    }
    const healed = x(this.report.healed_s);
    behind.append(drawn('line', { class: 'healed', x1: healed, x2: healed, y1: 16, y2: height - 18 }));
    return behind;
  }

  point() {
    const { cursorS } = this.time;
    const inSight = cursorS !== null && cursorS >= this.time.fromS && cursorS <= this.time.toS;
    this.tip.hidden = !inSight;
    this.cursor.setAttribute('visibility', inSight ? 'visible' : 'hidden');
    if (!inSight) return;
    const at = this.x(cursorS);
    this.cursor.setAttribute('x1', at);
    this.cursor.setAttribute('x2', at);
    this.tip.replaceChildren(...tipLines(this.report, cursorS));
    const share = this.box.clientWidth / Math.max(300, this.box.clientWidth);
    const room = this.box.clientWidth - this.tip.offsetWidth - 4;
    const left = at * share + 14 > room ? at * share - this.tip.offsetWidth - 14 : at * share + 14;
    this.tip.style.left = `${Math.min(Math.max(left, 0), Math.max(room, 0))}px`;
  }

  secondsAt(event) {
    const box = this.svg.getBoundingClientRect();
    const pixels = (event.clientX - box.left) * (this.svg.viewBox.baseVal.width / box.width);
    return this.time.fromS + ((pixels - this.plot.left) / (this.plot.right - this.plot.left)) * this.time.lengthS;
  }

  press(event) {
    if (event.button !== 0 || event.pointerType === 'touch') return;
    this.pressedS = this.secondsAt(event);
    this.svg.setPointerCapture(event.pointerId);
  }

  move(event) {
    const atS = this.secondsAt(event);
    this.time.point(atS);
    if (this.pressedS === null) return;
    const [from, to] = [this.pressedS, atS].sort((one, other) => one - other).map((each) => this.x(each));
    this.selection.setAttribute('x', from);
    this.selection.setAttribute('width', to - from);
    this.selection.setAttribute('visibility', 'visible');
  }

  release(event) {
    if (this.pressedS === null) return;
    const [from, to] = [this.pressedS, this.secondsAt(event)].sort((one, other) => one - other);
    this.pressedS = null;
    if (this.x(to) - this.x(from) > 6) this.time.show(from, to);
    else this.selection.setAttribute('visibility', 'hidden');
  }

  key(event) {
    const step = event.shiftKey ? 0.1 : 0.01;
    const acts = {
      ArrowLeft: () => this.time.step(-step), ArrowRight: () => this.time.step(step),
      '+': () => this.time.zoom(0.5), '=': () => this.time.zoom(0.5), '-': () => this.time.zoom(2),
      0: () => this.time.showAll(), Escape: () => this.time.point(null),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  // For the tables below: show this time, a little before and after it.
  reveal(fromS, toS) {
    const around = Math.max(1, toS - fromS);
    this.time.show(fromS - around, toS + around);
    this.time.point((fromS + toS) / 2);
    this.svg.scrollIntoView({ block: 'center' });
    this.svg.focus({ preventScroll: true });
  }
}
