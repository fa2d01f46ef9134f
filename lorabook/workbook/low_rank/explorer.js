// The Rank explorer: a picture or a pre-trained matrix, what rank r keeps of it, and what it leaves out.
import { fixed, general, sizeText } from "../kit/numbers.js";
import { COLOUR, line, path, shape, text } from "../kit/svg.js";

const PANEL_GAP = 18;
const LOOKS = [
  { stroke: COLOUR.vermilion, "stroke-width": 3 },
  { stroke: COLOUR.blue, "stroke-width": 2.5 },
  { stroke: COLOUR.grey, "stroke-width": 2.5 },
  { stroke: COLOUR.ink, "stroke-width": 2, "stroke-dasharray": "2 4" },
];

/** `data` with its levels unpacked: of every matrix, the whole and its part of each rank, entry by entry. */
async function unpackLevels(data) {
  const packed = Uint8Array.from(atob(data.levels), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const every = new Uint8Array(await new Response(stream).arrayBuffer());
  const images = {};
  let at = 0;
  for (const [name, { rows, columns }] of Object.entries(data.matrices)) {
    images[name] = [0, ...data.ranks].map(() => {
      at += rows * columns;
      return Array.from(every.subarray(at - rows * columns, at), (byte) => byte + data.lowest);
    });
  }
  return { ...data, images };
}

const percent = (share) => (share < 0.9995 || share >= 1 - 1e-9 ? `${general(100 * share, 3)}%` : "over 99.9%");

/** The same as `shown` in explorer.py. */
function shownRank(state, data) {
  const matrix = data.matrices[state.matrix];
  const { d, k, rows, columns, energy } = matrix;
  const [at, r] = [data.ranks.indexOf(state.r), Math.min(state.r, d, k)];
  const [size, full] = [4 * r * (d + k), 4 * d * k];
  const verdict = size < full ? "less than" : size === full ? "as much as" : "more than";
  const lines = [
    `${matrix.label}, ${d} × ${k}: rank ${r}${r === state.r ? "" : ", the largest it has,"} keeps ${percent(energy[at])} of ` +
      `its energy; 90% needs rank ${matrix.rank90}.`,
    `Two factors of rank ${r} take ${sizeText(size)} in fp32, ${verdict} the ${sizeText(full)} of the whole matrix; ` +
      `break-even at rank ${Math.floor((d * k) / (d + k))}.`,
  ];
  if (matrix.way) {
    const which = matrix.way === "blocks" ? "the 16 block matrices" : "all matrices, embeddings too,";
    lines.push(
      `Of its update ΔW in full fine-tuning rank ${r} keeps ${percent(matrix.delta[at])}, of noise ${percent(matrix.noise[at])}.`,
      `Held-out loss with the updates of ${which} cut to rank ${r}: ${fixed(data.loss[matrix.way][at], 3)} nats ` +
        `(to rank 0: ${fixed(data.none[matrix.way], 3)}, not cut: ${fixed(data.tuned, 3)}).`,
    );
  }
  const corner = rows === d && columns === k ? "" : `, the first ${rows} × ${columns}`;
  return {
    title: `${matrix.label}: rank ${r} keeps ${percent(energy[at])} of its energy`,
    readout: lines.join("\n"),
    names: [`${d} × ${k}${corner}`, `its part of rank ${r}`, "left out"],
    rows, columns,
    levels: matrix.levels,
    whole: data.images[state.matrix][0],
    kept: data.images[state.matrix][at + 1],
    curves: matrix.curves,
    r,
  };
}

/** Brown for -1, white for 0, violet for 1. */
function diverging(value) {
  const end = value < 0 ? [179, 88, 6] : [84, 39, 136];
  return end.map((channel) => Math.round(247 + (channel - 247) * Math.min(1, Math.abs(value))));
}

const grey = (value) => Array(3).fill(Math.round(255 * Math.min(1, Math.max(0, value))));

/** Entries as a picture, one pixel each, that the browser enlarges without smoothing. */
function image(entries, colour, { rows, columns }, x, y, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  entries.forEach((entry, i) => pixels.data.set([...colour(entry), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
  const size = { x, y, width, height, preserveAspectRatio: "none", style: "image-rendering: pixelated" };
  return shape("image", { ...size, href: canvas.toDataURL() });
}

function drawRank(shown, width) {
  const { rows, columns, levels, whole, kept, curves, r } = shown;
  const narrow = width < 600;
  const isPicture = Object.keys(curves).length === 2;
  const panel = Math.min((width - 2 * PANEL_GAP) / 3, (220 * columns) / rows);
  const [high, start] = [(panel * rows) / columns, (width - 3 * panel - 2 * PANEL_GAP) / 2];
  const rest = whole.map((entry, i) => entry - kept[i]);
  const drawn = [whole, kept, rest].flatMap((entries, i) => {
    const [x, shade] = [start + i * (panel + PANEL_GAP), isPicture && i < 2 ? grey : diverging];
    const scale = isPicture && i === 2 ? levels / 2 : levels;
    const centred = { "text-anchor": "middle", "font-size": narrow ? 11 : 13 };
    const names = narrow ? shown.names[i].split(", ") : [shown.names[i]];
    return [
      ...names.map((name, row) => text(x + panel / 2, 14 + 15 * row, name, centred)),
      image(entries, (entry) => shade(entry / scale), shown, x, narrow ? 36 : 22, panel, high),
    ];
  });

  // shares over the rank, whose logarithm the axis has
  const [left, right, top, tall] = [40, narrow ? 12 : 246, high + (narrow ? 62 : 48), 170];
  const x = (rank) => left + ((width - left - right) * Math.log2(rank)) / 8;
  const y = (share) => top + tall * (1 - share);
  const small = { "font-size": 12, fill: COLOUR.muted };
  for (const share of [0, 0.5, 1]) {
    drawn.push(line(left, y(share), width - right, y(share), COLOUR.rule));
    drawn.push(text(left - 8, y(share) + 4, `${share}`, { ...small, "text-anchor": "end" }));
  }
  for (let rank = 1; rank <= 256; rank *= 2) drawn.push(text(x(rank), top + tall + 18, `${rank}`, { ...small, "text-anchor": "middle" }));
  drawn.push(text((left + width - right) / 2, top + tall + 36, "rank r (logarithmic)", { ...small, "text-anchor": "middle" }));
  drawn.push(text(0, top - 12, "share", small), line(x(r), top - 6, x(r), top + tall, COLOUR.ink));
  Object.entries(curves).forEach(([name, points], i) => {
    const look = LOOKS[i];
    const here = points.find(([rank]) => rank === r)?.[1];
    drawn.push(path(points.map(([rank, share]) => [x(rank), y(share)]), look.stroke, look));
    drawn.push(shape("circle", { cx: x(r), cy: y(here), r: 5, fill: look.stroke, "data-curve": name, "data-share": here }));
    const [from, at] = narrow ? [0, top + tall + 62 + 20 * i] : [width - right + 16, top + 20 + 38 * i];
    drawn.push(line(from, at - 4, from + 20, at - 4, look.stroke, look), text(from + 28, at, name));
    const place = narrow ? { x: width, y: at, "text-anchor": "end" } : { x: from + 28, y: at + 17 };
    drawn.push(shape("text", { ...place, fill: COLOUR.ink, "font-weight": 700 }, fixed(here, 2)));
  });
  return [drawn, top + tall + (narrow ? 62 + 20 * Object.keys(curves).length : 44)];
}

export const explorer = { shown: shownRank, draw: drawRank, prepared: unpackLevels };
