// The Fastfood explorer: a spike on its way through B, H, Π, G and H, with each factor to be switched off.
import { general } from "../kit/numbers.js";
import { COLOUR, line, text } from "../kit/svg.js";

const STAGES = [
  "θ_d: two spikes",
  "1 · B: random signs",
  "2 · H: mixes",
  "3 · Π: shuffles",
  "4 · G: scales at random",
  "5 · H: mixes again",
];

/** The Walsh-Hadamard transform: H z, by sums and differences of halves. */
function transformed(z) {
  let found = z;
  for (let h = 1; h < z.length; h *= 2) {
    const before = found;
    found = before.map((value, i) => (i & h ? before[i ^ h] - value : value + before[i ^ h]));
  }
  return found;
}

/** The same as `shown` in explorer.py. */
function shownFastfood({ spike, step, B, H, Pi, G }, data) {
  const next = (spike + 1) % data.B.length;
  const factors = [
    B && ((z) => z.map((value, i) => value * data.B[i])),
    H && transformed,
    Pi && ((z) => data.gather.map((from) => z[from])),
    G && ((z) => z.map((value, i) => value * data.G[i])),
    H && transformed,
  ];
  const [stages, nextStages] = [spike, next].map((at) => {
    const found = [data.B.map((_, i) => Number(i === at))];
    for (const factor of factors) found.push(factor ? factor(found.at(-1)) : found.at(-1));
    return found.map((stage) => stage.map((value) => value + 0)); // no negative zero
  });
  const present = stages[step].map(Math.abs).filter((value) => value > 1e-6);
  const sizes = new Set(present.map((value) => Math.round(value * 1e3))).size;
  const kinds = sizes === 1 ? "one size" : `${sizes} different sizes`;
  return {
    title: `Two spikes, at ${spike} (blue) and at ${next} (orange)`,
    readout: `After ${data.steps[step]}: ${present.length} of ${data.B.length} entries are not zero, with ${kinds}.`,
    stages,
    next: nextStages,
    on: [true, B, H, Pi, G, H],
    step,
  };
}

/** A panel for each stage up to the state's step, with blue bars for the spike and orange ones for the next; the others are empty. */
function drawFastfood({ stages, next, on, step }, width) {
  const columns = 2;
  const [wide, high, left] = [width / columns, 150, 52];
  const drawn = stages.flatMap((values, i) => {
    const [x0, top] = [(i % columns) * wide + left, Math.floor(i / columns) * (high + 44) + 26];
    const [span, middle] = [wide - left - 10, top + high / 2];
    const name = STAGES[i];
    const parts = [text(x0, top - 8, on[i] ? name : `${name.split(":")[0]}: off`, { "font-weight": 600 })];
    const x = (at) => x0 + (span * (at + 0.5)) / values.length;
    const mark = (at, y, label, anchor) => text(at, y, label, { "font-size": 12, "text-anchor": anchor, fill: COLOUR.muted });
    parts.push(line(x0, middle, x0 + span, middle, COLOUR.rule));
    for (const at of [0, values.length / 2, values.length - 1]) parts.push(mark(x(at), top + high + 14, `${at}`, "middle"));
    if (i > step) return parts;
    const most = Math.max(1e-9, ...[...values, ...next[i]].map(Math.abs));
    for (const [sign, at] of [["", -1], ["", 0], ["−", 1]]) {
      parts.push(mark(x0 - 5, middle + (at * high) / 2.2 + 4, at ? sign + general(most, 3) : "0", "end"));
    }
    const height = (value) => middle - (value / most) * (high / 2.2);
    const bar = (at, value, stroke, more) => parts.push(line(at, middle, at, height(value), stroke, { "stroke-width": Math.max(1.5, 1.7 * aside), ...more }));
    const aside = span / values.length / 6; // a pair of bars at each position, and a gap
    values.forEach((value, at) => {
      if (value) bar(x(at) - aside, value, COLOUR.blue, { "data-value": value });
      if (next[i][at]) bar(x(at) + aside, next[i][at], COLOUR.orange, { "data-next": next[i][at] });
    });
    return parts;
  });
  return [drawn, Math.ceil(stages.length / columns) * (high + 44)];
}

export const explorer = { shown: shownFastfood, draw: drawFastfood };
