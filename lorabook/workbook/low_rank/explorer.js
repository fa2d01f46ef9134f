// The Rank explorer: what is left at rank r of a picture, of an update ΔW, and of what the updated model answers.
import { fixed } from "../kit/numbers.js";
import { COLOUR, line, rect, shape, text } from "../kit/svg.js";

const UPDATES = { truncated: "ΔW's first r terms", LoRA: "LoRA trained at rank r", full: "all of ΔW" };
const BARS = {
  LoRA: ["LoRA trained at rank r", COLOUR.blue],
  truncated: ["ΔW's first r terms", COLOUR.orange],
  scaled: ["ΔW, same energy", COLOUR.purple],
};
const [ROWS, COLUMNS, GREYS] = [80, 120, 60];
const [BEFORE, AFTER, LINE] = [3, 11, 17]; // room for so many lines of both answers, and the height of one

/** A label with its rank filled in. */
function atRank(label, r) {
  return label.replace("rank r", `rank ${r}`).replace("first r terms", r > 1 ? `first ${r} terms` : "first term");
}

/** The same as `shown` in explorer.py. */
function shownRank({ r, update, question }, data) {
  const found = data.recovery[r];
  const trained = "LoRA" in found ? `LoRA ${found.LoRA}%, ` : "";
  const said = Array.isArray(data.answers[update]) ? data.answers[update] : data.answers[update][r];
  return {
    title: `Recovery at rank ${r}: ${trained}${atRank(UPDATES.truncated, r)} ${found.truncated}%`,
    readout:
      `At rank ${r}, the picture keeps ${data.kept[r]} of its energy. In SmolLM2-135M, ΔW keeps ` +
      `${fixed(100 * data.energy[r], 0)}% of its energy, and the recovery is ${found.truncated}%. ` +
      `With all of ΔW, scaled down to that energy, it is ${found.scaled}%.`,
    r,
    picture: data.pictures[r],
    recovery: found,
    question: data.titles[question],
    before: data.answers.base[question],
    update: `With ${atRank(UPDATES[update], r)} added to the weights:`,
    answer: said?.[question] || "(This answer isn't stored.)",
  };
}

/** Grey levels as a picture, one pixel each, that the browser enlarges without smoothing. */
function image(levels, x, y, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width: COLUMNS, height: ROWS });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(COLUMNS, ROWS);
  for (let i = 0; i < levels.length; i++) {
    const grey = Math.round((255 * (levels.charCodeAt(i) - 35)) / GREYS);
    pixels.data.set([grey, grey, grey, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  const size = { x, y, width, height, preserveAspectRatio: "none", style: "image-rendering: pixelated" };
  return shape("image", { ...size, href: canvas.toDataURL() });
}

/** `written` in lines of at most `most` letters, broken between words where there is a space. */
export function wrapped(written, most) {
  return written.split("\n").flatMap((whole) => {
    const lines = [];
    let rest = whole;
    while (rest.length > most) {
      const space = rest.lastIndexOf(" ", most);
      const end = space > most / 2 ? space : most;
      lines.push(rest.slice(0, end));
      rest = rest.slice(end).replace(/^ /, "");
    }
    return [...lines, rest];
  });
}

/** The picture beside the bars, on a narrow page above them; below both, a question and the answer. */
function drawRank(shown, width) {
  const narrow = width < 600;
  const across = narrow ? width : 300;
  const high = (across * ROWS) / COLUMNS;
  const small = { "font-size": 12, fill: COLOUR.muted };
  const drawn = [
    image(shown.picture, 0, 0, across, high),
    text(0, high + 18, `The picture at rank ${shown.r}`, small),
  ];

  const [left, top] = narrow ? [0, high + 46] : [across + 28, 12];
  const [from, row] = [left + 172, 54];
  const bottom = top + 14 + row * Object.keys(BARS).length;
  const x = (percent) => from + ((width - from - 50) * Math.min(percent, 105)) / 105;
  drawn.push(text(left, top, "SmolLM2-135M: recovery (dashed: full fine-tuning)", small));
  Object.entries(BARS).forEach(([way, [name, colour]], i) => {
    const y = top + 14 + row * i;
    drawn.push(text(from - 8, y + 16, atRank(name, shown.r), { "text-anchor": "end", "font-size": 12.5 }));
    const value = shown.recovery[way];
    if (value === undefined) return;
    drawn.push(rect(from, y, x(value) - from, 24, colour, { "data-way": way, "data-percent": value }));
    drawn.push(text(width - 4, y + 16, `${value}%`, { "font-weight": 700, "text-anchor": "end" }));
  });
  drawn.push(line(x(100), top + 8, x(100), bottom, COLOUR.ink, { "stroke-dasharray": "3 4" }));

  const start = Math.max(high + 18, bottom) + 32;
  const most = Math.floor(width / (0.62 * 13));
  const second = start + 46 + LINE * BEFORE + 14; // where the answer with the update begins
  drawn.push(text(0, start, wrapped(shown.question, most)[0], { "font-weight": 700 }));
  drawn.push(...written("Before training:", shown.before, start + 22, BEFORE));
  drawn.push(...written(shown.update, shown.answer, second, AFTER));
  return [drawn, second + 24 + LINE * AFTER];

  /** A heading in small letters, and below it the first lines of an answer. */
  function written(heading, answer, y, lines) {
    const look = { "font-family": "monospace", "font-size": 13, "xml:space": "preserve" };
    const all = wrapped(answer, most);
    const first = all.slice(0, lines).map((each, i) => (i === lines - 1 && all.length > lines ? `${each} …` : each));
    return [
      text(0, y, heading, small),
      ...first.map((each, i) => text(0, y + 24 + LINE * i, each.replaceAll(" ", "\u00a0"), look)),
    ];
  }
}

export const explorer = { shown: shownRank, draw: drawRank };
