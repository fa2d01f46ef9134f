// The Fading explorer: what a model writes while its LoRA update is faded in.
import { COLOUR, line, path, shape, text } from "../kit/svg.js";

const [LINES, LINE] = [13, 18]; // room for so many lines of text, and the height of one
const [STEP, MOST] = [2, 40]; // from one strength to the next, and the largest, in tenths

/** The same as `shown` in explorer.py. */
function shownFading({ tenths, prompt }, { counts, texts }) {
  const [seen, functions] = counts[tenths / STEP];
  const strength = `${Math.floor(tenths / 10)}.${tenths % 10}`;
  return {
    title: `Strength ${strength}: ${seen} of ${functions} functions have a docstring`,
    readout:
      `With the update at strength ${strength}, ${seen} of ${functions} functions in 44 texts begin with a docstring.`,
    tenths,
    percent: counts.map(([a, b]) => Math.round((100 * a) / b)),
    lines: texts[tenths / STEP][prompt].split("\n"),
  };
}

/** The text, its docstrings in orange, beside the curve; on a narrow page below it. */
function drawFading({ tenths, percent, lines }, width) {
  const narrow = width < 600;
  const [left, top, tall] = [44, 30, 190];
  const span = (narrow ? width : 380) - left - 14;
  const x = (t) => left + (span * t) / MOST;
  const y = (p) => top + tall * (1 - p / 100);
  const small = { "font-size": 12, fill: COLOUR.muted };
  const drawn = [text(0, 14, "functions with a docstring (%)", small)];
  for (const p of [0, 50, 100]) {
    drawn.push(line(left, y(p), left + span, y(p), COLOUR.rule), text(left - 6, y(p) + 4, `${p}`, { ...small, "text-anchor": "end" }));
  }
  for (const t of [0, 10, 20, 30, 40]) drawn.push(text(x(t), top + tall + 18, `${t / 10}`, { ...small, "text-anchor": "middle" }));
  drawn.push(text(x(MOST / 2), top + tall + 36, "strength of the update", { ...small, "text-anchor": "middle" }));
  drawn.push(line(x(10), y(0), x(10), y(100), COLOUR.rule, { "stroke-dasharray": "4 4" }));
  drawn.push(text(x(10) + 6, y(0) - 8, "as trained", small));
  drawn.push(path(percent.map((p, i) => [x(STEP * i), y(p)]), COLOUR.orange));
  percent.forEach((p, i) => drawn.push(shape("circle", { cx: x(STEP * i), cy: y(p), r: 2.5, fill: COLOUR.orange })));
  drawn.push(shape("circle", { cx: x(tenths), cy: y(percent[tenths / STEP]), r: 6, fill: COLOUR.orange, "data-percent": percent[tenths / STEP] }));
  const [from, start, size] = narrow ? [0, top + tall + 66, 11] : [410, 20, 13];
  const most = Math.floor((width - from - 8) / (0.62 * size)); // letters in a line
  lines.slice(0, LINES).forEach((written, i) => {
    const look = { "font-family": "monospace", "font-size": size, "xml:space": "preserve" };
    const fits = written.length > most ? `${written.slice(0, most - 1)}…` : written;
    const docstring = written.includes('"""') && { "font-weight": 700 };
    if (docstring) drawn.push(shape("rect", { x: from - 4, y: start + LINE * i - 13, width: 4, height: LINE, fill: COLOUR.orange }));
    drawn.push(text(from + 4, start + LINE * i, fits.replaceAll(" ", "\u00a0"), { ...look, ...docstring }));
  });
  return [drawn, Math.max(top + tall + 44, start + LINE * LINES)];
}

export const explorer = { shown: shownFading, draw: drawFading };
