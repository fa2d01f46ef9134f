// The LoRA explorer: what rank, alpha and target modules train, and what that takes in memory and on disk.
import { atPeak, estimate } from "../kit/estimate.js";
import { drawMemory, roomSentence, titleOf } from "../kit/memory_picture.js";
import { fixed, general, grouped, sizeText } from "../kit/numbers.js";
import { Refusal } from "../kit/refusal.js";

const labelOf = (options, value) => options.find(([, option]) => option === value)[0];
const lastName = (name) => name.split(".").at(-1);

/** The same as `shown` in explorer.py. `setting` holds what most of its sentences need. */
function shownLoRA(state, data) {
  const shape = data.models[state.model];
  const setting = {
    ...state, attention: "fused", loss: "chunked", data, shape, full: state.method === "full", name: labelOf(data.names, state.model),
    how: labelOf(data.methods, state.method) + (state.method === "full" ? "" : ` at r = ${state.r}`),
    modules: Object.fromEntries(data.targets[state.model].map((target, i) => [target, shape.modules[i]])),
  };
  const [full, chosen] = [estimated({ ...setting, full: true }), estimated(setting)];
  const beside = setting.full ? "" : ` Full fine-tuning: ${sizeText(full.peak)}.`;
  return {
    title: titleOf(setting.name, setting.how, chosen, data.gpus),
    readout: [
      trainedLine(setting, chosen),
      `Peak: ${sizeText(chosen.peak)} with ${stepWords(setting)}.${beside}`,
      roomSentence(chosen.peak, data.gpus),
      doubledLine(setting, chosen),
    ].join("\n"),
    details: [...(setting.full ? [] : targetLines(setting)), filesLine(setting, full, chosen)].join("\n"),
    copy: toCopy(setting),
    bars: { "full fine-tuning": atPeak(full), ...(setting.full ? {} : { [setting.how]: atPeak(chosen) }) },
    gpus: data.gpus,
  };
}

function estimated(setting) {
  if (setting.full) return estimate(setting.shape, { ...setting, lora: null });
  if (!setting.targets.length) {
    const usual = setting.data.usual[setting.model][0];
    throw new Refusal(`No target module is ticked. LoRA needs at least one: tick ${usual}, for example.`);
  }
  const modules = Object.keys(setting.modules).filter((target) => setting.targets.includes(target));
  const lora = { r: setting.r, modules: modules.map((target) => setting.modules[target]) };
  return estimate(setting.shape, { ...setting, lora, weights: setting.method === "lora4" ? "nf4" : setting.weights });
}

function trainedLine({ name, how, full, r, alpha }, chosen) {
  if (full) return `${name}, full fine-tuning: all ${grouped(chosen.parameters)} parameters trained. r, α, targets do nothing.`;
  const share = fixed((100 * chosen.trainable) / chosen.parameters, 4);
  return (
    `${name}, ${how}: ${grouped(chosen.trainable)} of ${grouped(chosen.parameters)} parameters trained, ` +
    `${share}%. Scaling α/r = ${alpha}/${r} = ${general(alpha / r, 4)}.`
  );
}

function targetLines({ modules, targets, r, shape }) {
  const count = (m) => (m.place === "block" ? shape.layers : 1);
  const parts = targets.map((t) => `${t} ${count(modules[t])} × ${grouped(r * (modules[t].d + modules[t].k))}`);
  const twins = Object.keys(modules).filter((target) => target.includes("."));
  const both = targets.some((t) => twins.includes(t)) ? ` The target ${lastName(twins[0])} means both ${twins.join(" and ")}.` : "";
  return [`Modules × parameters in each: ${parts.join(", ")}.${both}`, rankLine(r, targets.map((t) => [t, modules[t]]))];
}

/** Which matrices the rank r is too large for, the smallest break-even rank first. */
function rankLine(r, matrices) {
  const ranks = matrices.map(([target, m]) => ({ target, even: Math.floor((m.d * m.k) / (m.d + m.k)), most: Math.min(m.d, m.k) }));
  ranks.sort((a, b) => a.even - b.even || (a.target < b.target ? -1 : 1));
  const listed = (rank, field) => `${rank.target} (${grouped(rank[field])})`;
  const past = ranks.filter((rank) => rank.even < r).map((rank) => listed(rank, "even"));
  if (!past.length) {
    return `Break-even rank d·k/(d + k): ${grouped(ranks[0].even)} for ${ranks[0].target}, the first to reach it.`;
  }
  const said = `Past the break-even rank d·k/(d + k): ${past.join(", ")}. There A and B are larger than the matrix.`;
  const capped = ranks.filter((rank) => rank.most < r).map((rank) => listed(rank, "most"));
  return said + (capped.length ? ` No update can have a rank above min(d, k): ${capped.join(", ")}.` : "");
}

function stepWords({ data, method, optimizer, weights, batch, sequence, checkpointing }) {
  const base = method === "lora4" ? "a base in NF4 and fp16 arithmetic" : labelOf(data.precisions, weights);
  const recomputed = `${checkpointing ? "with" : "without"} checkpointing`;
  return `${labelOf(data.optimizers, optimizer)}, ${base}, ${batch} × ${sequence} tokens, ${recomputed}`;
}

function doubledLine(setting, chosen) {
  const more = (field) => estimated({ ...setting, [field]: 2 * setting[field] }).peak - chosen.peak;
  const grown = Object.entries({ "α": "alpha", r: "r", "the batch": "batch" }).map(([name, field]) => {
    const added = more(field);
    return `${name} ${added ? `+${sizeText(added)}` : "nothing"}`;
  });
  return `What doubling adds to the peak: ${grown.join(", ")}.`;
}

function filesLine({ data, full }, whole, chosen) {
  const [tasks, base] = [data.tasks, 2 * whole.parameters];
  const copies = `${tasks} tasks on disk: ${sizeText(tasks * base)} as copies of the model in 16 bits`;
  if (full) return `${copies}.`;
  const [fp32, fp16] = [4 * chosen.trainable, 2 * chosen.trainable];
  return (
    `Adapter file: ${sizeText(fp32)} in fp32, as lorabook writes it, ${sizeText(fp16)} in fp16; tensor names add some KiB. ` +
    `${copies}, ${sizeText(base + tasks * fp32)} as one base with ${tasks} adapters ` +
    `(${sizeText(base + tasks * fp16)} with adapters in fp16).`
  );
}

function toCopy({ data, modules, targets, full, model, method, r, alpha, batch, sequence, weights, optimizer, checkpointing }) {
  const copied = {};
  let options = "--full";
  if (!full) {
    const short = shortTargets(Object.keys(modules), targets);
    const listed = `[${short.map((target) => JSON.stringify(target)).join(", ")}]`;
    options = `--r ${r} --alpha ${alpha} --targets ${short.join(",")}`;
    copied.PEFT = `LoraConfig(r=${r}, lora_alpha=${alpha}, target_modules=${listed}, task_type="CAUSAL_LM")`;
  }
  const quoted = /[^\w@%+=:,./-]/.test(model) ? `'${model}'` : model;
  if (method === "lora" && data.loadable.includes(model)) {
    copied["To train"] = `lorabook finetune --model ${quoted} ${options} --max-length ${sequence} --micro-tokens ${batch * sequence}`;
  }
  const step = `--batch ${batch} --sequence ${sequence} --weights ${method === "lora4" ? "nf4" : weights} --optimizer ${optimizer}`;
  copied["To predict this peak"] = `lorabook memory ${quoted} ${options} ${step}${checkpointing ? " --checkpointing" : ""}`;
  return copied;
}

/** Targets by their last names where those hit no other module: c_proj for both of its modules. */
function shortTargets(every, targets) {
  const short = targets.map((target) => {
    const alike = every.filter((name) => lastName(name) === lastName(target));
    return alike.every((name) => targets.includes(name)) ? lastName(target) : target;
  });
  return [...new Set(short)];
}

export const explorer = { shown: shownLoRA, draw: drawMemory };
