// Elements and texts. Whatever comes from the run becomes a text node or an attribute, never markup.

function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const NUMBER = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

function number(value) {
  return NUMBER.format(value);
}

function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// Three digits say enough of a measurement.
function measure(value) {
  if (value >= 100) return number(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}

function duration(seconds) {
  if (seconds < 0.0995) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 120) return `${measure(seconds)} s`;
  return moment(seconds);
}

function milliseconds(value) {
  if (value === null) return '–';
  return value < 999.5 ? `${measure(value)} ms` : duration(value / 1e3);
}

// A time since the beginning: 12.34 s, 3:25, 1:02:03.
function moment(seconds, digits = 0) {
  const sign = seconds < 0 ? '−' : '';
  const size = Math.abs(seconds);
  if (size < 120) return `${sign}${size.toFixed(digits || (size % 1 ? 2 : 0))} s`;
  const whole = Math.floor(size);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, '0');
  const part = digits ? (size % 1).toFixed(digits).slice(1) : '';
  return sign + (hours ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(rest)}${part}`;
}

function place(topic, partition) {
  return partition === null ? topic : `${topic}/${partition}`;
}

// The colours of Okabe and Ito, which the colour-blind tell apart; all of them carry dark or white text.
const NODE_COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#f0e442', '#d55e00'];

function nodeColour(report, node) {
  const at = report.nodes.indexOf(node);
  return at < 0 ? '#888888' : NODE_COLOURS[at % NODE_COLOURS.length];
}

function nodeInk(report, node) {
  return nodeColour(report, node) === NODE_COLOURS[0] ? '#ffffff' : '#111111';
}

function faultName(fault) {
  return fault.aim ? `${fault.kind} on ${fault.aim}` : fault.kind;
}

// The end of a group's name tells partitions apart.
function cut(text, length) {
  return text.length > length ? `…${text.slice(1 - length)}` : text;
}
