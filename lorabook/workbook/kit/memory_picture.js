// Memory drawn: what is alive when a training step peaks, over the memory of real GPUs, all to one scale.
import { COLOUR, line, rect, roomFor, text } from "./svg.js";
import { sizeText, unitOf } from "./numbers.js";

const PARTS = {
  "frozen weights": COLOUR.grey,
  "attention mask etc.": COLOUR.sky,
  "trainable weights": COLOUR.blue,
  "optimizer state": COLOUR.orange,
  gradients: COLOUR.vermilion,
  "activations and loss": COLOUR.green,
  "optimizer's workspace": COLOUR.purple,
};
const STEPS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]; // ends of the axis, coarse: it stands still while a slider moves a little
const TICKS = [1, 2, 2.5, 5, 10];
const SPARE = 2 ** 30; // bytes left free, as in gpus.py
const MARK = { fits: "✓", tight: "tight", small: "✗" };
const [NAMES, BAR, GPU, END] = [138, 38, 15, 22]; // pixels: names on the left, a bar, a GPU's line, room on the right

/** "full" and "LoRA" of "full fine-tuning" and "LoRA at r = 16". */
const shortName = (name) => name.replace(/ fine-tuning| at r.*/, "");
const power = (value) => 10 ** Math.floor(Math.log10(value));

/** `gpus.py`: whether a GPU of so many bytes has room for a peak, and a GiB to spare. */
const room = (peak, bytes) => (peak + SPARE <= bytes ? "fits" : peak <= bytes ? "tight" : "small");

/** `gpu_room.py`: which GPUs have room for a peak, in sentences. */
export function roomSentence(peak, gpus) {
  const of = { fits: [], tight: [], small: [] };
  for (const name of Object.keys(gpus)) of[room(peak, gpus[name])].push(name);
  const between = of.tight.length ? `With less than 1 GiB to spare: ${of.tight.join(", ")}. ` : "";
  return `Fits on: ${of.fits.join(", ") || "none of these GPUs"}. ${between}Too small: ${of.small.join(", ") || "none"}.`;
}

/** `gpu_room.py`: what a model needs in a setting, and whether Colab's T4 has room for it. */
export function titleOf(model, how, chosen, gpus) {
  const [need, here] = [sizeText(chosen.peak), room(chosen.peak, gpus.T4) === "fits"];
  if (how === "full fine-tuning") return `Full fine-tuning of ${model} needs ${need}: it ${here ? "fits" : "does not fit"} on Colab's T4`;
  return `${model} with ${how} needs ${need}${here ? " and fits on" : ", too much for"} Colab's T4`;
}

/** The end of the axis in bytes: a round number past the longest bar, and past the smallest GPU where that is not far. */
function axisEnd(longest, smallest) {
  let needed = 1.02 * longest;
  if (needed > 0.2 * smallest) needed = Math.max(needed, 1.25 * smallest);
  let unit = unitOf(needed / 2)[0];
  while (unit * 10 <= needed) unit *= 10;
  return unit * STEPS.find((step) => unit * step >= needed);
}

/** `shown.bars` is {name: {component: bytes}}, the last of them the state's own; `shown.gpus` {name: bytes}. */
export function drawMemory(shown, width) {
  const bars = Object.entries(shown.bars);
  const peaks = bars.map(([, parts]) => Object.values(parts).reduce((a, b) => a + b));
  const gpus = Object.entries(shown.gpus);
  const end = axisEnd(Math.max(...peaks), Math.min(...gpus.map(([, bytes]) => bytes)));
  const x = (bytes) => NAMES + ((width - NAMES - END) * Math.min(bytes, end)) / end;
  const [unit, unitName] = unitOf(end / 2);
  const drawn = [];
  let y = 4;

  bars.forEach(([name, parts], i) => {
    drawn.push(text(NAMES - 10, y + 16, name, { "text-anchor": "end" }));
    drawn.push(text(NAMES - 10, y + 33, sizeText(peaks[i]), { "text-anchor": "end", "font-weight": 700 }));
    let from = 0;
    for (const [part, bytes] of Object.entries(parts)) {
      if (!bytes) continue;
      const [left, wide] = [x(from), x(from + bytes) - x(from)];
      drawn.push(rect(left, y, wide, BAR, PARTS[part], { "data-part": `${name}: ${part}`, "data-bytes": bytes }));
      if (from) drawn.push(line(left, y, left, y + BAR, COLOUR.paper));
      const size = sizeText(bytes);
      const short = size.replace(` ${unitName}`, ""); // the axis has the unit, too
      const label = [size, short].find((each) => wide > roomFor(each, 12) + 6);
      const ink = part === "trainable weights" ? "#fff" : "#000";
      if (label) {
        drawn.push(text(left + wide / 2, y + BAR / 2 + 4, label, { fill: ink, "text-anchor": "middle", "font-size": 12 }));
      }
      from += bytes;
    }
    y += BAR + 10;
  });

  const top = y;
  y += 4;
  for (const [name, bytes] of [...gpus].sort((a, b) => a[1] - b[1])) {
    const label = `${name.replace(/ \d+ GB$/, "")}  ${bytes / 2 ** 30} GiB`;
    drawn.push(text(NAMES - 10, y + 12, label, { "text-anchor": "end", "font-size": 12 }));
    const wide = x(bytes) - NAMES;
    drawn.push(rect(NAMES, y + 1, wide, GPU, COLOUR.track, { "data-gpu": name }));
    const fits = bars.map(([bar], i) => `${shortName(bar)} ${MARK[room(peaks[i], bytes)]}`);
    drawn.push(text(NAMES + 6, y + 12, fits.join("  ·  "), { "font-size": 11 }));
    if (bytes > end) drawn.push(text(x(end) + 4, y + 13, "→", { "font-size": 12, fill: COLOUR.muted }));
    else drawn.push(line(x(bytes), y + 1, x(bytes), y + GPU + 1, COLOUR.ink, { "stroke-width": 2 }));
    y += GPU + 4;
  }
  peaks.forEach((each, i) => {
    const from = top - 10 - (BAR + 10) * (peaks.length - 1 - i); // the bar's lower edge
    drawn.push(line(x(each), from, x(each), y, COLOUR.ink, { "stroke-dasharray": "3 3" }));
  });

  const most = Math.max(2, Math.floor((width - NAMES) / 80));
  const raw = end / unit / most;
  const step = power(raw) * TICKS.find((t) => power(raw) * t >= raw * 0.999);
  const marks = [];
  for (let at = 0; at <= (end / unit) * 1.001; at += step) {
    const label = `${Number(at.toPrecision(3))}`;
    marks.push(line(x(at * unit), 0, x(at * unit), y + 2, COLOUR.rule));
    drawn.push(text(x(at * unit), y + 16, at ? label : `0 ${unitName}`, { "text-anchor": "middle", "font-size": 12, fill: COLOUR.muted }));
  }
  y += 34;

  // every component with its size, in as many columns as there is room for
  const parts = Object.keys(PARTS).filter((part) => bars.some(([, sizes]) => sizes[part]));
  const [columns, both] = [width >= 640 ? 2 : 1, bars.length > 1];
  const column = Math.min(400, (width - 16) / columns);
  const rows = Math.ceil(parts.length / columns);
  for (let c = 0; both && c < columns; c += 1) {
    const left = c * (column + 16);
    drawn.push(text(left + column - 84, y, "full", { "text-anchor": "end", "font-size": 12, fill: COLOUR.muted }));
    drawn.push(text(left + column, y, shortName(bars.at(-1)[0]), { "text-anchor": "end", "font-size": 12, fill: COLOUR.muted }));
  }
  parts.forEach((part, i) => {
    const left = Math.floor(i / rows) * (column + 16);
    const at = y + 19 * ((i % rows) + Number(both));
    drawn.push(rect(left, at - 10, 11, 11, PARTS[part]), text(left + 18, at, part));
    const sizes = bars.map(([, found]) => (found[part] ? sizeText(found[part]) : "–"));
    if (both) drawn.push(text(left + column - 84, at, sizes[0], { "text-anchor": "end", fill: COLOUR.muted }));
    drawn.push(text(left + column, at, sizes.at(-1), { "text-anchor": "end", "font-weight": 600 }));
  });
  return [[...marks, ...drawn], y + 19 * (rows - 1 + Number(both)) + 8];
}
