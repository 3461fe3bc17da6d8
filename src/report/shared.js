const byId = id => document.getElementById(id);

const SVG = new DOMParser().parseFromString("<svg>", "text/html").querySelector("svg").namespaceURI;

// Everything from files becomes text or an attribute, never markup.
function make(tag, attributes, ...children) {
  const svg = /^(svg|g|path|rect|circle|line|text|tspan|title|clipPath)$/.test(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Numbers.
const minus = text => String(text).replace("-", "\u2212");
const count = n => Math.round(n).toLocaleString("en-US");
function fixed(x, digits = 2) {
  if (x == null) return "\u2013";
  const [whole, part] = x.toFixed(digits).split(".");
  return minus([whole.replace(/\B(?=(\d{3})+$)/g, ","), part].filter(text => text != null).join("."));
}
const nats = x => x == null ? "\u2013" : fixed(x, Math.abs(x) < 10 ? 3 : 2);
const plural = (n, what) => count(n) + " " + what + (n === 1 ? "" : "s");
const percent = x => (100 * x).toFixed(x > 0 && x < .01 ? 1 : 0) + "\u00a0%";
const file = path => path.split("/").pop() || path; // a page that is shown around need not say where files lie
const bare = x => String(+x.toFixed(2));
function duration(seconds) {
  if (seconds == null) return "\u2013";
  if (seconds < 60) return seconds.toFixed(1) + "\u00a0s";
  const whole = Math.round(seconds), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  return h ? `${h}\u00a0h ${m}\u00a0min` : `${m}\u00a0min ${s}\u00a0s`;
}

// Ticks at multiples of 1, 2 or 5 times a power of ten.
function ticks(low, high, most, least = 0) {
  const rough = Math.max((high - low) / Math.max(most, 1), least), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * .999) || rough;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && out.length < 50; i++) {
    const value = i * step, large = Math.max(Math.abs(low), Math.abs(high));
    const label = large >= 1e6 ? value.toExponential(2) : digits > 6 ? value.toPrecision(3) : fixed(value, digits);
    out.push([value, value === 0 ? "0" : label]);
  }
  return out;
}

// The bulk of each line, where it ends being of it: the 2 % on either side count only if they lie within twice its extent.
function bulk(values) {
  const v = [...values].sort((a, b) => a - b), last = v.length - 1, cut = v.length < 4 ? 0 : Math.ceil(v.length / 50);
  const end = values[last], low = Math.min(v[cut], end), high = Math.max(v[last - cut], end), width = high - low;
  const near = (most, at) => width === 0 || Math.abs(most - at) <= 2 * width ? most : at;
  return [near(v[0], low), near(v[last], high)];
}

function nearest(steps, at) {
  let low = 0, high = steps.length - 1;
  while (high - low > 1) { const m = low + high >> 1; if (steps[m] < at) low = m; else high = m; }
  return Math.abs(steps[low] - at) <= Math.abs(steps[high] - at) ? low : high;
}

// Colours that are told apart, also by most of those who see fewer.
const ten = ["#4477aa", "#ee6677", "#228833", "#b8a11c", "#2aa3c7", "#aa3377", "#e07b00", "#7d7d7d", "#8c6bd1", "#9a6324"];
