// The part of the run that is shown, and the moment that the reader points at. Whoever draws listens.

class TimeWindow {
  constructor(endS, finestS) {
    this.endS = endS;
    this.finestS = finestS;
    this.fromS = 0;
    this.toS = endS;
    this.cursorS = null;
    this.onMove = () => {};
    this.onPoint = () => {};
  }

  get lengthS() {
    return this.toS - this.fromS;
  }

  show(fromS, toS) {
    const lengthS = Math.min(this.endS, Math.max(toS - fromS, 4 * this.finestS));
    const middleS = (fromS + toS) / 2;
    this.fromS = Math.min(Math.max(middleS - lengthS / 2, 0), this.endS - lengthS);
    this.toS = this.fromS + lengthS;
    this.onMove();
  }

  showAll() {
    this.show(0, this.endS);
  }

  // Around the cursor where there is one in sight, else around the middle.
  zoom(factor) {
    const inSight = this.cursorS !== null && this.cursorS >= this.fromS && this.cursorS <= this.toS;
    const aroundS = inSight ? this.cursorS : (this.fromS + this.toS) / 2;
    this.show(aroundS - (aroundS - this.fromS) * factor, aroundS + (this.toS - aroundS) * factor);
  }

  shift(share) {
    this.show(this.fromS + this.lengthS * share, this.toS + this.lengthS * share);
  }

  point(atS) {
    this.cursorS = atS === null ? null : Math.min(Math.max(atS, 0), this.endS);
    this.onPoint();
  }

  // By key: the cursor moves, and takes the window with it.
  step(share) {
    const startS = this.cursorS === null ? (this.fromS + this.toS) / 2 : this.cursorS;
    const atS = Math.min(Math.max(startS + this.lengthS * share, 0), this.endS);
    if (atS < this.fromS) this.show(atS, atS + this.lengthS);
    if (atS > this.toS) this.show(atS - this.lengthS, atS);
    this.point(atS);
  }
}

// Marks of an axis: about so many round times.
function ticks(fromS, toS, count) {
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  let step = steps.find((each) => (toS - fromS) / each <= count);
  if (!step) step = 3600 * Math.ceil((toS - fromS) / 3600 / count);
  const marks = [];
  for (let n = Math.ceil(fromS / step); n * step <= toS; n += 1) marks.push(n * step);
  return marks;
}
