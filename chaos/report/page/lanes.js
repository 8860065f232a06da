// One function per kind of lane. A lane is drawn at `top`; the drawing's `x` turns seconds into pixels.

// The buckets in sight, and one more on each side so that lines go on to the edge.
function bucketsInSight(series, time) {
  const first = Math.max(0, Math.floor(time.fromS / series.bucket_s) - 1);
  const last = Math.min(series.produced_per_s.length, Math.ceil(time.toS / series.bucket_s) + 1);
  return { first, last, middle: (at) => (at + 0.5) * series.bucket_s };
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((each) => each >= value);
}

function drawScale(lane, plot, marks, text) {
  for (const [y, value] of marks) {
    lane.append(drawn('line', { class: 'grid', x1: plot.left, x2: plot.right, y1: y, y2: y }));
    lane.append(drawn('text', { class: 'scale', x: plot.left - 6, y: y + 3 }, text(value)));
  }
}

// What a burst after an outage reaches would flatten all the rest: the scale ends at three times the usual.
function scaleEnd(values) {
  const sorted = values.filter((value) => value > 0).sort((one, other) => one - other);
  if (!sorted.length) return 1;
  return roundUp(Math.min(sorted[sorted.length - 1], 3 * sorted[Math.floor(sorted.length * 0.8)]));
}

// Steps from zero: a rate is a count of a bucket, not a curve. A mark on top stands where there is more.
function drawRate({ plot, time, x, report: { series } }, values, refused, style, top, height) {
  const lane = drawn('g');
  const peak = scaleEnd(values);
  const y = (value) => top + height - Math.min(value / peak, 1) * height;
  drawScale(lane, plot, [[y(peak), peak], [y(peak / 2), peak / 2], [y(0), 0]], (value) => (peak < 10 ? String(value) : number(value)));
  const { first, last } = bucketsInSight(series, time);
  let path = `M${x(first * series.bucket_s)},${y(0)}`;
  for (let at = first; at < last; at += 1) {
    path += `V${y(values[at]).toFixed(1)}H${x((at + 1) * series.bucket_s).toFixed(1)}`;
  }
  lane.append(drawn('path', { class: style, d: `${path}V${y(0)}Z` }));
  for (let at = first; at < last; at += 1) {
    if (values[at] > peak) {
      const middle = x((at + 0.5) * series.bucket_s);
      const d = `M${middle - 4},${top + 1}l4,-6l4,6Z`;
      lane.append(drawn('path', { class: 'peak', d }, drawn('title', {}, number(values[at]))));
    }
    if (!refused[at]) continue;
    const left = x(at * series.bucket_s);
    const width = Math.max(1.5, x((at + 1) * series.bucket_s) - left);
    const tall = Math.max(2, y(0) - y(refused[at]));
    lane.append(drawn('rect', { class: 'refused', x: left, y: y(0) - tall, width, height: tall }));
  }
  return lane;
}

// Two quantiles on a logarithmic scale, the space between them shaded; buckets without any interrupt them.
function drawLatency({ plot, time, x, report: { series } }, low, high, style, top, height) {
  const lane = drawn('g');
  const known = [...low, ...high].filter((value) => value !== null && value > 0);
  const least = Math.floor(Math.log10(Math.min(...known, 10)));
  const most = Math.max(least + 1, Math.ceil(Math.log10(Math.max(...known, 1))));
  const y = (value) => top + height - ((Math.log10(Math.max(value, 1e-3)) - least) / (most - least)) * height;
  const marks = [];
  for (let power = least; power <= most; power += 1) marks.push([y(10 ** power), 10 ** power]);
  drawScale(lane, plot, marks, (value) => (value >= 1000 ? `${value / 1e3} s` : `${value} ms`));
  for (const points of runsOfKnown(series, time, low, high)) {
    const line = (values) => values.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    const lower = line(points.map(([at, value]) => [at, value]));
    const upper = line(points.map(([at, , value]) => [at, value]));
    lane.append(drawn('path', { class: `between ${style}`, d: `M${[...lower, ...upper.reverse()].join('L')}Z` }));
    lane.append(drawn('path', { class: `median ${style}`, d: `M${lower.join('L')}` }));
    lane.append(drawn('path', { class: `tail ${style}`, d: `M${upper.join('L')}` }));
  }
  return lane;
}

// A bucket that stands alone is drawn as wide as it is.
function runsOfKnown(series, time, low, high) {
  const { first, last, middle } = bucketsInSight(series, time);
  const runs = [];
  let run = [];
  for (let at = first; at <= last; at += 1) {
    if (at < last && low[at] !== null) {
      run.push([middle(at), low[at], high[at]]);
    } else if (run.length) {
      if (run.length === 1) {
        const [when, lower, upper] = run[0];
        run = [-0.4, 0.4].map((off) => [when + off * series.bucket_s, lower, upper]);
      }
      runs.push(run);
      run = [];
    }
  }
  return runs;
}

// A box with as much of its label as fits before `endX`: the whole, a short one, or none.
function drawSpan({ x, plot }, span, style, labels, top, height, { ink = null, colour = null, endX = null } = {}) {
  const left = x(span.from_s);
  const width = Math.max(2, x(span.to_s) - left);
  const box = drawn('g', {}, drawn('rect', { class: style, x: left, y: top, width, height, fill: colour, rx: 2 }));
  const from = Math.max(left, plot.left);
  const room = Math.min(endX ?? left + width, plot.right) - from;
  const label = left + width > from && labels.find((each) => each.length * 5.9 + 10 <= room);
  if (label && height >= 10) {
    box.append(drawn('text', { class: 'inside', x: from + 5, y: top + height / 2 + 3.5, fill: ink }, label));
  }
  return box;
}

// Faults that overlap lie in rows of their own.
function rowsOf(spans) {
  const ends = [];
  return spans.map((span) => {
    let row = ends.findIndex((end) => end <= span.from_s);
    if (row < 0) row = ends.length;
    ends[row] = span.to_s;
    return row;
  });
}

// Nothing stored: stripes over a band, so that the leader's colour stays to be seen.
function hatching() {
  return drawn('pattern', { id: 'stripes', width: 6, height: 6, patternUnits: 'userSpaceOnUse',
    patternTransform: 'rotate(45)' }, drawn('rect', { class: 'stripe', width: 3, height: 6 }));
}
