// The Fastfood explorer: a spike on its way through B, H, Π, G and H, with each factor to be switched off.
import { COLOUR, line, text } from "../kit/svg.js";

const STAGES = [
  "θ_d: two spikes",
  "1 · B: signs",
  "2 · H: mixes",
  "3 · Π: shuffles",
  "4 · G: scales",
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

/** A panel for each stage up to the state's step, above the spike's bars and below those of the next; the others are empty. */
function drawFastfood({ stages, next, on, step }, width) {
  const columns = 2;
  const [wide, high, left] = [width / columns, 150, 52];
  const drawn = stages.flatMap((values, i) => {
    const [x0, top] = [(i % columns) * wide + left, Math.floor(i / columns) * (high + 44) + 26];
    const span = wide - left - 10;
    const name = STAGES[i];
    const parts = [text(x0, top - 8, on[i] ? name : `${name.split(":")[0]}: off`, { "font-weight": 600 })];
    const x = (at) => x0 + (span * (at + 0.5)) / values.length;
    const mark = (at, y, label, anchor) => text(at, y, label, { "font-size": 12, "text-anchor": anchor, fill: COLOUR.muted });
    for (const at of [0, values.length / 2, values.length - 1]) parts.push(mark(x(at), top + high + 14, `${at}`, "middle"));
    const lanes = [[values, COLOUR.blue, "data-value"], [next[i], COLOUR.orange, "data-next"]];
    const most = Math.ceil(Math.max(1, ...[...values, ...next[i]].map(Math.abs)));
    lanes.forEach(([lane, colour, name], which) => {
      const zero = top + (high * (1 + 2 * which)) / 4; // the upper half and the lower half of the panel
      parts.push(line(x0, zero, x0 + span, zero, COLOUR.rule));
      if (i > step) return;
      for (const side of [1, 0, -1]) {
        parts.push(mark(x0 - 5, zero - (side * high) / 5.6 + 4, `${side * most}`.replace("-", "−"), "end"));
      }
      lane.forEach((value, at) => {
        const look = { "stroke-width": Math.max(2, (0.6 * span) / lane.length), [name]: value };
        if (value) parts.push(line(x(at), zero, x(at), zero - ((value / most) * high) / 5.6, colour, look));
      });
    });
    return parts;
  });
  return [drawn, Math.ceil(stages.length / columns) * (high + 44)];
}

export const explorer = { shown: shownFastfood, draw: drawFastfood };
