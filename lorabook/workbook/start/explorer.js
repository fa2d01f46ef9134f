// The Start explorer: a weight and its LoRA, drawn to scale, while r moves.
import { general, grouped, sizeText } from "../kit/numbers.js";
import { COLOUR, rect, roomFor, shape, text } from "../kit/svg.js";

/** The same as `shown` in explorer.py. */
function shownStart({ shape: [d, k], r }) {
  const trained = r * (d + k);
  return {
    title: `Rank ${r}: B and A have ${general((100 * trained) / (d * k), 3)}% as many parameters as W0`,
    readout: [
      `Frozen: W0, ${d} × ${k} = ${grouped(d * k)} parameters.`,
      `Trained: B, ${d} × ${r}, and A, ${r} × ${k}, together r (d + k) = ${grouped(trained)} parameters, ` +
        `${sizeText(4 * trained)} at 4 bytes each.`,
      `From rank ${grouped(Math.floor((d * k) / (d + k)) + 1)} on, B and A have more parameters than W0.`,
    ].join("\n"),
    d, k, r,
  };
}

/** Lines of text around the middle of a block. */
const written = (x, y, strings) =>
  strings.map((string, i) => text(x, y + 17 * (i - (strings.length - 1) / 2) + 4, string, { "text-anchor": "middle", fill: "#000" }));

/** W0, and beside it B and A around the outline of their product: all to one scale, orange is trained. */
function drawStart({ d, k, r }, page) {
  const narrow = page < 600;
  const [margin, width] = [12, page - 24];
  const [height, top, label, gap, beside] = [386, 26, narrow ? 73 : 56, 8, narrow ? 66 : 84];
  const scale = Math.min((height - top - label - gap) / (d + r), (width - 2 * beside - gap) / (2 * k + r));
  const [high, wide, thin] = [d * scale, k * scale, r * scale];
  const [y, left] = [top + label + thin + gap, wide + 2 * beside]; // the top of W0, B and BA; the left edge of B
  const product = left + thin + gap;
  const block = (x, at, w, h, colour, name) => rect(x, at, Math.max(w, 1), Math.max(h, 1), colour, { "data-part": name });
  const above = (name, rows, columns, x, side) => {
    const count = grouped(rows * columns);
    const said = narrow ? [count, "trained"] : [`${count} trained`];
    return [name, `${rows} × ${columns}`, ...said].map((string, i) =>
      text(x, top + 14 + 17 * i, string, { "text-anchor": side, "font-weight": i ? 400 : 700 }),
    );
  };
  const size = wide < roomFor(`${d} × ${k}`) ? [`${d} ×`, `${k}`] : [`${d} × ${k}`];
  const frozen = wide < roomFor(`${grouped(d * k)} frozen`) ? [grouped(d * k), "frozen"] : [`${grouped(d * k)} frozen`];
  const middle = y + high / 2;
  const outline = { fill: "none", stroke: COLOUR.orange, "stroke-dasharray": "5 4", "data-part": "BA" };
  const drawn = [
    text(0, 18, "W0 + (α/r) B A", { "font-size": 14 }),
    block(0, y, wide, high, COLOUR.grey, "W0"),
    ...written(wide / 2, middle, ["W0", ...size, ...frozen]),
    text(wide + beside, middle + 4, "+ (α/r) ·", { "text-anchor": "middle", "font-size": 14 }),
    block(left, y, thin, high, COLOUR.orange, "B"),
    block(product, top + label, wide, thin, COLOUR.orange, "A"),
    shape("rect", { x: product, y, width: wide, height: high, ...outline }),
    ...written(product + wide / 2, middle, [wide < roomFor("the product B A") ? "B A" : "the product B A", ...size, "not stored"]).map((t) => (t.setAttribute("fill", COLOUR.ink), t)),
    ...above("B", d, r, left + thin, "end"),
    ...above("A", r, k, product, "start"),
  ];
  return [[shape("g", { transform: `translate(${margin} 0)` }, ...drawn)], y + high + 4];
}

export const explorer = { shown: shownStart, draw: drawStart };
