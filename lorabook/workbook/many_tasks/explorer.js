// The Serving explorer: many tasks on one base, as copies or as adapters, in bytes.
import { fixed, general, grouped, rounded, sizeText } from "../kit/numbers.js";
import { COLOUR, line, path, shape, text } from "../kit/svg.js";

const LOOKS = {
  "a copy per task": { stroke: COLOUR.vermilion, "stroke-width": 2.5 },
  "one base, LoRA": { stroke: COLOUR.blue, "stroke-width": 3 },
  "the base alone": { stroke: COLOUR.grey, "stroke-width": 2, "stroke-dasharray": "2 4" },
};
const labelOf = (options, value) => options.find(([, option]) => option === value)[0];
const digits = (value) => (value < 999.5 ? general(value, 3) : rounded(value));
const tasksText = (n) => `${grouped(n)} task${n === 1 ? "" : "s"}`;
/** f"{value:,.1f}" */
const tenths = (value) => fixed(value, 1).replace(/^\d+/, grouped);

function sizesOf({ r, targets, adapters, base }, counts) {
  const hits = counts.targets[targets];
  const lora = r * hits.rank1;
  const trained = (m) => 2 * counts.layers * (2 * m * counts.width + counts.width + m) + counts.norms;
  const m = Math.max(1, Number(fixed(Math.max(0, (lora - trained(0)) / (trained(1) - trained(0))), 0)));
  return {
    copy: base * counts.parameters,
    merged: base * (counts.parameters + (hits.unties ? counts.head : 0)),
    rewritten: base * hits.weights,
    lora: adapters * lora,
    bottleneck: adapters * trained(m),
    m,
    buffers: counts.buffers,
  };
}

/** The same as `shown` in explorer.py. */
function shownServing(state, data) {
  const counts = data.models[state.model];
  const size = sizesOf(state, counts);
  const of = (bytes) => data.tasks.map((n) => size.copy + n * bytes);
  return {
    title: titleLine(state, size, data),
    readout: readoutLines(state, size, counts, data).join("\n"),
    details: detailLines(state, size, data).join("\n"),
    curves: {
      "a copy per task": data.tasks.map((n) => n * size.copy),
      "one base, LoRA": of(size.lora),
      "the base alone": of(0),
    },
    tasks: data.tasks,
    chosen: state.tasks,
  };
}

function titleLine({ model, tasks }, size, data) {
  const [copies, lora] = [tasks * size.copy, size.copy + tasks * size.lora];
  return `${tasksText(tasks)} on ${labelOf(data.names, model)}: ${sizeText(lora)} with LoRA, ${sizeText(copies)} as ${tasks > 1 ? "copies" : "a copy"}`;
}

function readoutLines({ model, tasks, r, targets, adapters, base }, size, counts, { names, formats, t4 }) {
  const [copies, oneBase] = [tasks * size.copy, size.copy + tasks * size.lora];
  const [saved, most] = [copies / oneBase, size.copy / size.lora];
  const held = size.copy + size.buffers;
  const room =
    t4 < held
      ? "A T4 has no room for one copy."
      : `A T4 has room for ${grouped(Math.floor(t4 / held))} copies, or the base with ` +
        `${grouped(Math.floor((t4 - held) / size.lora))} adapters; activations come on top.`;
  return [
    `${labelOf(names, model)}: ${grouped(counts.parameters)} parameters, ${sizeText(size.copy)} in ${labelOf(formats, base)}. ` +
      `LoRA with r = ${r} on ${counts.targets[targets].names}: ${grouped(size.lora / adapters)} parameters, ` +
      `${sizeText(size.lora)} in ${labelOf(formats, adapters)}.`,
    `${tasksText(tasks)} on disk: ${sizeText(copies)} as copies of the model, ${sizeText(oneBase)} as one base with LoRA ` +
      `adapters, ${saved > 1 ? `${digits(saved)} times less` : "which saves nothing"}.`,
    `A copy weighs as much as ${digits(most)} LoRA adapters. ` +
      (most > 1
        ? `With that many tasks, they weigh as much. The saving stays under ${digits(most)} times.`
        : "So an adapter of this rank saves nothing, however many tasks there are."),
    `All in memory, ready to answer: ${sizeText(copies + tasks * size.buffers)} as copies, ` +
      `${sizeText(oneBase + size.buffers)} as one base with LoRA. ${room}`,
  ];
}

function detailLines({ model, tasks, adapters }, size, data) {
  const more = size.merged - size.copy;
  const untied = more ? `, ${sizeText(more)} more for each because its head is no longer its embedding` : "";
  const lines = [
    `Bottleneck adapters of the nearest size, m = ${grouped(size.m)}, have ${grouped(size.bottleneck / adapters)} parameters ` +
      `with the norms: ${sizeText(size.copy + tasks * size.bottleneck)}.`,
    `To change the task: load another adapter, ${sizeText(size.lora)}, or another copy, ${sizeText(size.copy)}.`,
    "Merged, LoRA takes no extra time, but a model then answers one task: no batch mixes them. A merged copy for each task " +
      `takes ${sizeText(tasks * size.merged)}${untied}; merging into one base writes ${sizeText(size.rewritten)} at each ` +
      "change of the task. Bottleneck adapters cannot be merged.",
  ];
  if (model === data.paper) {
    lines.push(
      `In units of 10⁹ and 10⁶ bytes: ${tenths(size.copy / 1e9)} GB + ${grouped(tasks)} × ${tenths(size.lora / 1e6)} MB = ` +
        `${tenths((size.copy + tasks * size.lora) / 1e9)} GB, against ${rounded((tasks * size.copy) / 1e9)} GB. ` +
        "The LoRA paper's footnote 4, for 100 tasks: 350 GB + 100 × 35 MB ≈ 354 GB, against about 35 TB.",
    );
  }
  return lines;
}

/** `wanted` in growing order, moved so that neighbours are `gap` apart: those that would collide share their mean place. */
function apart(wanted, gap) {
  const blocks = [];
  wanted.forEach((place, i) => {
    let block = { total: place - i * gap, count: 1 };
    while (blocks.length && blocks.at(-1).total / blocks.at(-1).count >= block.total / block.count) {
      const before = blocks.pop();
      block = { total: block.total + before.total, count: block.count + before.count };
    }
    blocks.push(block);
  });
  return blocks.flatMap(({ total, count }) => Array(count).fill(total / count)).map((start, i) => start + i * gap);
}

/** Bytes over tasks, both as logarithms: the chosen number on a line of its own, with what LoRA saves there. */
function drawServing(shown, width) {
  const { tasks, curves, chosen } = shown;
  const narrow = width < 600;
  const [left, right, top, high] = [70, narrow ? 22 : 210, 34, narrow ? 220 : 290];
  const values = Object.values(curves).flat();
  const [low, span] = [Math.log10(Math.min(...values)) - (narrow ? 0.7 : 0.25), Math.log10(Math.max(...values) / Math.min(...values)) + (narrow ? 0.9 : 0.4)];
  const x = (n) => left + ((width - left - right) * Math.log10(n)) / Math.log10(tasks.at(-1));
  const y = (bytes) => top + high * (1 - (Math.log10(bytes) - low) / span);
  const small = { "font-size": 12, fill: COLOUR.muted };
  const [bottom, at] = [top + high, tasks.indexOf(chosen)];
  const drawn = [];
  for (const [unit, name] of [[2 ** 20, "MiB"], [2 ** 30, "GiB"], [2 ** 40, "TiB"]]) {
    for (const n of [1, 10, 100]) {
      if (y(n * unit) < top || y(n * unit) > bottom) continue;
      drawn.push(line(left, y(n * unit), width - right, y(n * unit), COLOUR.rule));
      drawn.push(text(left - 8, y(n * unit) + 4, `${n} ${name}`, { ...small, "text-anchor": "end" }));
    }
  }
  for (const n of [1, 10, 100, 1000]) drawn.push(text(x(n), bottom + 18, grouped(n), { ...small, "text-anchor": "middle" }));
  drawn.push(text((left + width - right) / 2, bottom + 36, "tasks (logarithmic)", { ...small, "text-anchor": "middle" }));
  drawn.push(text(left, 12, "size on disk (logarithmic)", small));
  const side = (n) => ({ "text-anchor": n < 30 ? "start" : "end", dx: n < 30 ? 6 : -6 });
  drawn.push(line(x(chosen), top - 10, x(chosen), bottom, COLOUR.ink));
  drawn.push(text(x(chosen), top - 2, tasksText(chosen), { "font-size": 12, "font-weight": 600, ...side(chosen) }));
  for (const [name, sizes] of Object.entries(curves)) {
    drawn.push(path(tasks.map((n, i) => [x(n), y(sizes[i])]), LOOKS[name].stroke, LOOKS[name]));
    if (name !== "the base alone") drawn.push(shape("circle", { cx: x(chosen), cy: y(sizes[at]), r: 5, fill: LOOKS[name].stroke, "data-curve": name, "data-bytes": sizes[at] }));
  }
  const [copies, lora] = ["a copy per task", "one base, LoRA"].map((name) => curves[name][at]);
  if (!narrow && y(lora) - y(copies) > 44) {
    const place = { "font-size": 12, "text-anchor": chosen > 100 ? "end" : "start", dx: chosen > 100 ? -8 : 8 };
    drawn.push(text(x(chosen), (y(copies) + y(lora)) / 2, `${digits(copies / lora)} times less`, place));
  }
  const names = Object.keys(curves).sort((a, b) => y(curves[a].at(-1)) - y(curves[b].at(-1)));
  const places = narrow ? names.map((_, i) => bottom + 62 + 20 * i) : apart(names.map((name) => y(curves[name].at(-1))), 38);
  names.forEach((name, i) => {
    const [start, place] = [narrow ? 0 : width - right + 12, places[i]];
    drawn.push(line(start, place - 4, start + 20, place - 4, LOOKS[name].stroke, LOOKS[name]));
    drawn.push(text(start + 28, place, name));
    const value = narrow ? { x: width, y: place, "text-anchor": "end" } : { x: start + 28, y: place + 17 };
    const bytes = sizeText(curves[name][at]);
    drawn.push(text(value.x, value.y, narrow || name === "the base alone" ? bytes : `${tasksText(chosen)}: ${bytes}`, { ...value, "font-weight": 700 }));
  });
  return [drawn, bottom + (narrow ? 62 + 20 * names.length : Math.max(44, places.at(-1) + 24 - bottom))];
}

export const explorer = { shown: shownServing, draw: drawServing };
