// The controls, the run, and what is said of it; explorer_plot.js draws it.
const COMPARED = ["decoupled_lr", "none"];  // drawn beside the chosen coupling
const at = (id) => document.getElementById(id);

// The two random numbers of each step.
function* uniforms(key, stream) {
  let a, b, first, second;
  for (let t = 0; ; t++) {
    if (t % BURST === 0) [a, b] = threefry(t / BURST, 0, key, stream);
    [first, a, b] = star(a, b);
    [second, a, b] = star(a, b);
    yield [unit(first), unit(second)];
  }
}

// One lane: the weight before the first step and after each, and at which steps a gradient came.
function lane(given) {
  const s = {...WORLD, ...given}, rule = RULES[s.optimizer], step = STEPS[s.optimizer][s.coupling];
  const hyper = Object.entries(rule.hyper).map(([name, value]) => name === rule.memory ? s.beta2 ?? value : value);
  const arrival = 1 - silentBatch(s.selectivity, s.batch), numbers = uniforms(s.draw, 0);
  const w = new Float64Array(s.steps + 1), came = new Uint8Array(s.steps);
  let cells = FRESH[s.optimizer](s.start, hyper);
  w[0] = s.start;
  for (let t = 0; t < s.steps; t++) {
    const g = selective(w[t], t, ...numbers.next().value, arrival, s.pull, s.target, s.sigma);
    came[t] = g !== 0;
    cells = step(cells, g, s.lr, 1, s.strength, hyper);
    w[t + 1] = cells[0];
  }
  return {w, came};
}

// Sliders: each moves along a list of values, in even steps of their logarithm or of that of what is left to 1.
const SERIES = [1, 1.25, 1.6, 2, 2.5, 3, 4, 5, 6, 8];
const decades = (low, high) => {
  const values = [];
  for (let k = low; k < high; k++) values.push(...SERIES.map((m) => Number(`${m}e${k}`)));
  return [...values, Number(`1e${high}`)];
};
const left = (value) => Number((1 - value).toPrecision(12));
const SCALES = {
  lr: decades(-6, 0),
  strength: decades(-6, 0),
  beta2: decades(-5, 0).map(left).reverse(),
  selectivity: decades(-5, 0).map(left).reverse(),
  batch: Array.from({length: 11}, (_, k) => 2 ** k),
};
const nearest = (name, value) => {
  const place = (v) => Math.log(Math.max(SCALES[name][0] === 0 ? 1 - v : v, 1e-300));
  const distances = SCALES[name].map((v) => Math.abs(place(v) - place(value)));
  return distances.indexOf(Math.min(...distances));
};

// Numbers and words for readers.
const whole = (n) => n.toLocaleString("en-US");
const plain = (x, digits = 3) => {
  if (!Number.isFinite(x)) return "no number";
  if (x === 0) return "0";
  const rounded = Number(x.toPrecision(digits));
  return Math.abs(rounded) < 1e-3 || Math.abs(rounded) >= 1e5 ? rounded.toExponential().replace("e+", "e") : String(rounded);
};
const capital = (text) => text[0].toUpperCase() + text.slice(1);

let setting;  // what the controls say

function read() {
  const given = new URLSearchParams(location.hash.slice(1)), s = {...OPENS_WITH};
  const number = (name) => given.has(name) && Number.isFinite(Number(given.get(name))) ? Number(given.get(name)) : undefined;
  if (Object.hasOwn(RULES, given.get("optimizer") ?? "")) s.optimizer = given.get("optimizer");
  if (Object.hasOwn(COUPLINGS, given.get("coupling") ?? "")) s.coupling = given.get("coupling");
  Object.assign(s, own(s.optimizer));
  for (const name of ["lr", "strength", "beta2", "selectivity", "batch"]) {
    const value = number(name) ?? s[name];
    if (value !== undefined) s[name] = SCALES[name][nearest(name, value)];
  }
  if (RULES[s.optimizer].memory === null) delete s.beta2;
  s.draw = Math.min(Math.max(Math.trunc(number("draw") ?? s.draw), 0), 2 ** 32 - 1);
  s.log = number("log") ?? s.log ? 1 : 0;
  return s;
}

// A rule's own learning rate and memory.
const own = (optimizer) => {
  const {lr, memory, hyper} = RULES[optimizer];
  return {lr, beta2: memory === null ? undefined : hyper[memory]};
};

function show() {
  const rule = RULES[setting.optimizer];
  for (const name of ["optimizer", "coupling"]) at(name).value = setting[name];
  at("beta2").disabled = rule.memory === null;
  at("beta2-label").innerHTML = rule.memory === null ? "memory <i>β<sub>2</sub></i>" : `memory ${rule.written[rule.memory]}`;
  const said = {
    lr: plain(setting.lr),
    strength: plain(setting.strength),
    beta2: rule.memory === null ? `${rule.label} has none` : `${plain(setting.beta2, 6)}`,
    selectivity: setting.selectivity === 0 ? "0: every image" : `${plain(setting.selectivity, 6)}: 1 image in ${plain(1 / (1 - setting.selectivity), 3)}`,
    batch: whole(setting.batch),
  };
  for (const [name, words] of Object.entries(said)) {
    if (setting[name] !== undefined) at(name).value = nearest(name, setting[name]);
    at(name).setAttribute("aria-valuetext", words);
    at(`${name}-shown`).textContent = words;
  }
  at("log").checked = Boolean(setting.log);
}

let waiting;

function draw() {
  const rule = RULES[setting.optimizer];
  const curves = [...new Set([setting.coupling, ...COMPARED])].map((coupling) => {
    const {w, came} = lane({...setting, coupling}), sizes = w.map(Math.abs);
    const passed = sizes.findIndex((size, t) => t > 0 && size <= WORLD.floor);
    return {
      coupling, sizes, came, last: sizes[WORLD.steps], passed: passed < 0 ? null : passed,
      label: COUPLINGS[coupling].label,
      ...(coupling === setting.coupling ? {colour: rule.colour, width: 2.25, dash: ""} : {colour: "#555", width: 1.75, dash: COUPLINGS[coupling].dash}),
    };
  });
  plot(curves);
  table(curves);
  facts(rule, curves);
  clearTimeout(waiting);
  waiting = setTimeout(() => {  // not at every move: a screen reader would speak without end, a browser refuse
    waiting = undefined;
    at("summary").textContent = summary(rule, curves);
    const {beta2, ...rest} = setting;
    history.replaceState(null, "", `#${new URLSearchParams(beta2 === undefined ? rest : {...rest, beta2})}`);
  }, 250);
}

function table(curves) {
  at("floor").textContent = plain(WORLD.floor);
  at("key").tBodies[0].innerHTML = curves.map((c) => `<tr><td><svg viewBox="0 0 35 10" aria-hidden="true"><line x1="0" y1="5" x2="35" y2="5"
    stroke="${c.colour}" stroke-width="${c.width + 0.5}" stroke-dasharray="${c.dash}"/></svg>${c.label}</td>
    <td>${c.passed === null ? `not in ${whole(WORLD.steps)}` : whole(c.passed)}</td><td>${plain(c.last)}</td></tr>`).join("");
}

function facts(rule, curves) {
  const silent = silentBatch(setting.selectivity, setting.batch), count = curves[0].came.reduce((n, yes) => n + yes, 0);
  const batches = setting.batch === 1 ? "a batch of 1 image" : `a batch of ${whole(setting.batch)} images`;
  at("arrival").textContent = `${plain(1 - silent)} for ${batches}; a gradient came at ${whole(count)} of ${whole(WORLD.steps)} steps.`;
  const bound = {root: criticalSelectivity, maximum: criticalSelectivityOfMaximum}[rule.critical]?.(setting.beta2);
  const mark = at("critical-mark"), scale = SCALES.selectivity;
  const beyond = bound === undefined ? -1 : scale.findIndex((s) => silentBatch(s, setting.batch) > bound);
  mark.hidden = beyond < 0;
  mark.style.left = `calc(${beyond / (scale.length - 1)} * (100% - 1rem) + .5rem)`;
  if (bound === undefined) {
    at("critical").textContent = `No closed form gives one for ${rule.label}.`;
    return;
  }
  const name = rule.written[rule.memory], form = rule.critical === "root" ? `√${name}` : name;
  at("critical").innerHTML = `${form} = ${plain(bound, 5)}; here a batch is silent with probability ${plain(silent, 5)}, ` +
    (silent > bound ? "beyond it: between gradients the divisor fades faster than they return, and the mean pull of L2 has no bound but <i>ε</i>."
      : "below it: gradients return before the divisor has faded, and the mean pull of L2 is bounded.");
}

function summary(rule, curves) {
  const end = (c) => c.passed === null ? `${plain(c.last)} after ${whole(WORLD.steps)} steps` : `down to ${plain(WORLD.floor)} after ${whole(c.passed)} ${c.passed === 1 ? "step" : "steps"}`;
  return `${rule.label}, from size ${plain(WORLD.start)}. ` + curves.map((c) => `${capital(c.label)}: ${end(c)}.`).join(" ");
}

function formula() {
  const rule = RULES[setting.optimizer], coupling = COUPLINGS[setting.coupling];
  at("rule-title").textContent = `One step of ${rule.label} with ${coupling.label}`;
  const rows = rule.formulas[setting.coupling].map((row) => ROWS[row]);
  at("formula").innerHTML = rows.map((row) => `<div>${row}</div>`).join("");
  const shown = rows.join(" "), has = (mark) => shown.includes(`<i>${mark}</i>`);
  const words = [["g", "gradient"], ["t", "number of the step, from 1"], ["κ", "the schedule’s multiplier, here 1"],
    ["grows", "1 where the step by itself takes <i>w</i> away from 0, else 0"]].filter(([mark]) => has(mark)).map(([mark, word]) => `<i>${mark}</i> ${word}`);
  const values = Object.entries(rule.hyper).filter(([name]) => shown.includes(rule.written[name]))
    .map(([name, value]) => `${rule.written[name]} = ${plain(name === rule.memory ? setting.beta2 : value, 6)}`);
  at("meaning").innerHTML = [...words, ...values].join(", ") + ".";
  at("paper").textContent = `${rule.label}: ${rule.paper}.`;
}

let asked = false;
function redraw() {  // once a frame at most
  show();
  formula();
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

for (const [name, values] of Object.entries(SCALES)) {
  Object.assign(at(name), {min: 0, max: values.length - 1, step: 1});
  at(name).addEventListener("input", () => { setting[name] = values[Number(at(name).value)]; redraw(); });
}
at("optimizer").addEventListener("input", () => { setting = {...setting, ...own(at("optimizer").value), optimizer: at("optimizer").value}; redraw(); });
at("coupling").addEventListener("input", () => { setting.coupling = at("coupling").value; redraw(); });
at("log").addEventListener("input", () => { setting.log = at("log").checked ? 1 : 0; redraw(); });
at("draw").addEventListener("click", () => { setting.draw = (setting.draw + 1) % 2 ** 32; redraw(); });
at("controls").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => { setting = read(); redraw(); });
new ResizeObserver(() => redraw()).observe(at("plot"));
at("world").textContent = `The weight starts at ${plain(WORLD.start)} with fresh state. A gradient that comes has mean 0 and standard deviation ` +
  `${plain(WORLD.sigma)} (uniform), whatever the number of images; it knows no target. Below ${plain(WORLD.floor)} the weight counts as dead.`;
setting = read();
redraw();
window.undertow = {run: (given) => lane(given).w, uniforms, draw, settled: () => !asked && waiting === undefined};
