// The drawing on the page, with zoom, a pointer, and what the reader does with mouse and keys.

class Timeline {
  constructor(report) {
    this.report = report;
    const lastS = Math.max(report.duration_s, ...report.faults.map((fault) => fault.to_s), 0.1);
    this.time = new TimeWindow(lastS, report.series.bucket_s);
    this.time.onMove = () => this.draw();
    this.time.onPoint = () => this.point();
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
      this.report.pauses.length ? entry(mark('pause'), 'nobody wrote') : '',
      entry(mark('refused'), 'not acknowledged'));
  }

  draw() {
    this.drawing = new Drawing(this.report, this.time, Math.max(300, this.box.clientWidth));
    const { width, height, parts } = this.drawing;
    this.cursor = drawn('line', { class: 'cursor', y1: 16, y2: height - 16, visibility: 'hidden' });
    this.selection = drawn('rect', { class: 'selection', y: 16, height: height - 32, visibility: 'hidden' });
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts, this.selection, this.cursor);
    this.point();
  }

  point() {
    const { cursorS } = this.time;
    const inSight = cursorS !== null && cursorS >= this.time.fromS && cursorS <= this.time.toS;
    this.tip.hidden = !inSight;
    this.cursor.setAttribute('visibility', inSight ? 'visible' : 'hidden');
    if (!inSight) return;
    const at = this.drawing.x(cursorS);
    this.cursor.setAttribute('x1', at);
    this.cursor.setAttribute('x2', at);
    this.tip.replaceChildren(...tipLines(this.report, cursorS));
    const room = this.box.clientWidth - this.tip.offsetWidth - 4;
    const left = at + 14 > room ? at - this.tip.offsetWidth - 14 : at + 14;
    this.tip.style.left = `${Math.min(Math.max(left, 0), Math.max(room, 0))}px`;
  }

  secondsAt(event) {
    const box = this.svg.getBoundingClientRect();
    return this.drawing.secondsAt((event.clientX - box.left) * (this.drawing.width / box.width));
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
    const [from, to] = [this.pressedS, atS].sort((one, other) => one - other).map((each) => this.drawing.x(each));
    this.selection.setAttribute('x', from);
    this.selection.setAttribute('width', to - from);
    this.selection.setAttribute('visibility', 'visible');
  }

  release(event) {
    if (this.pressedS === null) return;
    const [from, to] = [this.pressedS, this.secondsAt(event)].sort((one, other) => one - other);
    this.pressedS = null;
    if (this.drawing.x(to) - this.drawing.x(from) > 6) this.time.show(from, to);
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
