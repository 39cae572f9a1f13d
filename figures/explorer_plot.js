// The picture: curves of abs(w) against steps, the line below which a weight counts as dead, and where gradients came.
const LOWEST = 1e-5, HIGHEST = 1e3;  // of the logarithmic axis; what is beyond runs along its edge

function plot(curves) {
  const svg = at("plot"), width = svg.clientWidth, height = svg.clientHeight, wide = width >= 560;
  const margin = {left: 52, right: wide ? 12 + 6.6 * Math.max(...curves.map((c) => c.label.length)) : 12, top: 24, bottom: 48};
  const [x0, x1, y0, y1] = [margin.left, width - margin.right, height - margin.bottom, margin.top];
  const finite = curves.flatMap((c) => [c.sizes.reduce((most, s) => s > most && s < Infinity ? s : most, 0)]);
  const top = Math.min(Math.max(WORLD.start, ...finite), HIGHEST) * (setting.log ? 1.3 : 1.05);
  const x = (t) => x0 + (x1 - x0) * t / WORLD.steps;
  const share = (size) => setting.log ? Math.log(size / LOWEST) / Math.log(top / LOWEST) : size / top;
  const y = (size) => y0 + (y1 - y0) * Math.min(Math.max(share(size), 0), 1);
  const parts = [];
  const line = (kind, xa, ya, xb, yb) => parts.push(`<line class="${kind}" x1="${xa}" y1="${ya}" x2="${xb}" y2="${yb}"/>`);
  const words = (kind, xa, ya, anchor, text) => parts.push(`<text class="${kind}" x="${xa}" y="${ya}" text-anchor="${anchor}">${text}</text>`);
  for (const size of levels(top)) {
    line("grid", x0, y(size), x1, y(size));
    words("", x0 - 7, y(size) + 4, "end", setting.log && size === LOWEST ? `≤ ${plain(size)}` : plain(size));
  }
  for (let t = 0; t <= WORLD.steps; t += wide ? 1000 : 2500) {
    line("axis", x(t), y0 + 10, x(t), y0 + 14);
    words("", x(t), y0 + 27, t === WORLD.steps && !wide ? "end" : "middle", whole(t));
  }
  words("", 0, 12, "start", "size of the weight, abs(w)");
  words("", (x0 + x1) / 2, y0 + 43, "middle", "steps; green where a gradient comes");
  parts.push(gradients(curves[0].came, x, y0));
  line("axis", x0, y0 + 10, x1, y0 + 10);
  for (const c of [...curves].reverse()) {
    parts.push(`<path class="curve" d="${path(c.sizes, x, y, x0, x1)}" stroke="${c.colour}" stroke-width="${c.width}" stroke-dasharray="${c.dash}"/>`);
  }
  line("floor", x0, y(WORLD.floor), x1, y(WORLD.floor));
  words("label floor", x1 - 4, y(WORLD.floor) + (setting.log ? 14 : -5), "end", `dead: ${plain(WORLD.floor)}`);
  if (wide) {
    const spread = apart(curves.map((c) => y(Number.isFinite(c.last) ? c.last : top)), 16, y1 + 4, y0);
    curves.forEach((c, k) => words("label", x1 + 8, spread[k] + 4, "start", c.label));
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.innerHTML = parts.join("");
}

const levels = (top) => {
  if (!setting.log) {
    const rough = top / 4, unit = 10 ** Math.floor(Math.log10(rough)), gap = [5, 2, 1].find((m) => m * unit <= rough) * unit;
    return Array.from({length: Math.floor(top / gap + 1e-9) + 1}, (_, k) => k * gap);
  }
  const found = [];
  for (let k = Math.round(Math.log10(LOWEST)); 10 ** k <= top; k++) found.push(Number(`1e${k}`));
  return found;
};

// In each column of pixels the smallest and the largest size, so that no swing is lost.
function path(sizes, x, y, x0, x1) {
  const columns = Math.max(1, Math.round(x1 - x0)), a_column = (sizes.length - 1) / columns;
  let d = `M${x(0)} ${y(sizes[0]).toFixed(2)}`, pen = "L";
  for (let k = 0; k < columns; k++) {
    let low = Infinity, high = -Infinity, broken = false;
    const end = Math.round((k + 1) * a_column);
    for (let t = Math.round(k * a_column) + 1; t <= end; t++) {
      if (Number.isNaN(sizes[t])) broken = true;
      low = Math.min(low, sizes[t]);
      high = Math.max(high, sizes[t]);
    }
    if (broken || low === Infinity && high !== Infinity) { pen = "M"; continue; }
    const falls = sizes[end] < sizes[Math.round(k * a_column)];
    const place = x(end).toFixed(1);
    for (const size of low === high ? [low] : falls ? [high, low] : [low, high]) {
      d += `${pen}${place} ${y(size).toFixed(2)}`;
      pen = "L";
    }
  }
  return d;
}

// Where gradients came, as bars of whole pixels; what touches is one bar.
function gradients(came, x, y0) {
  const pixels = [];
  came.forEach((yes, t) => {
    const pixel = Math.floor(x(t + 1));
    if (yes && pixels.at(-1) !== pixel) pixels.push(pixel);
  });
  let bars = "";
  pixels.forEach((pixel, k) => {
    if (pixel - 1 !== pixels[k - 1]) bars += `M${pixel} ${y0 + 2}v8`;
    if (pixel + 1 !== pixels[k + 1]) bars += `H${pixel + 1}v-8z`;
  });
  return `<path class="came" d="${bars}"/>`;
}

// Places moved apart to be `gap` from each other, within low and high.
function apart(places, gap, low, high) {
  const order = places.map((_, k) => k).sort((a, b) => places[a] - places[b]), found = [...places];
  let least = low;
  for (const k of order) { found[k] = Math.max(found[k], least); least = found[k] + gap; }
  let largest = high;
  for (const k of order.reverse()) { found[k] = Math.min(found[k], largest); largest = found[k] - gap; }
  return found;
}
