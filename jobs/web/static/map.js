// The map: points on a canvas, a lasso, and the way to the grid. A lasso is a polygon in the grid's address.
"use strict";

const canvas = document.getElementById("map");
const tip = document.getElementById("map-tip");
const LASSO_POINTS = 60; // of the polygon in an address
const NAMED = 24; // categories that the legend names
const PICK = 8; // pixels within which the pointer means a clip

let data = null;
let view = { scale: 1, x: 0, y: 0 }; // of the unit square, in canvas sizes
let lasso = null;
let moving = null;
let only = "";

// Of hundreds of categories many have nearly the same hue: three shades part neighbours.
const colour = (number) => (number < 0 ? "#8888" : `hsl(${(number * 137.508) % 360} 65% ${42 + 13 * (number % 3)}%)`);
const size = () => Math.min(canvas.clientWidth, canvas.clientHeight) - 24;
const offset = () => [(canvas.clientWidth - size()) / 2, (canvas.clientHeight - size()) / 2];

function toScreen(x, y) {
  const [left, top] = offset();
  return [left + (x * view.scale + view.x) * size(), top + (y * view.scale + view.y) * size()];
}

function toPlace(screenX, screenY) {
  const [left, top] = offset();
  return [((screenX - left) / size() - view.x) / view.scale, ((screenY - top) / size() - view.y) / view.scale];
}

const inView = ([x, y]) => x >= 0 && y >= 0 && x <= canvas.clientWidth && y <= canvas.clientHeight;

function draw() {
  const ratio = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  if (!data) return;
  const dot = data.clips.length > 5000 ? 2 : data.clips.length > 500 ? 4 : 7;
  for (let n = 0; n < data.clips.length; n++) {
    if (only !== "" && String(data.category[n]) !== only) continue;
    const [x, y] = toScreen(data.x[n], data.y[n]);
    if (!inView([x, y])) continue;
    pen.fillStyle = colour(data.category[n]);
    pen.fillRect(x - dot / 2, y - dot / 2, dot, dot);
  }
  if (!lasso) return;
  pen.beginPath();
  lasso.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
  pen.strokeStyle = getComputedStyle(canvas).color;
  pen.lineWidth = 1.5;
  pen.stroke();
}

const at = (event) => [event.offsetX, event.offsetY];

canvas?.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (event.shiftKey) moving = at(event);
  else lasso = [at(event)];
});

canvas?.addEventListener("pointermove", (event) => {
  const [x, y] = at(event);
  if (lasso) lasso.push([x, y]);
  else if (moving) {
    view.x += (x - moving[0]) / size();
    view.y += (y - moving[1]) / size();
    moving = [x, y];
  } else return hint(x, y);
  draw();
});

canvas?.addEventListener("pointerup", () => {
  if (moving) legend();
  moving = null;
  const drawn = lasso;
  lasso = null;
  draw();
  if (!drawn || !data) return;
  if (drawn.length < 4) return open(drawn[0]);
  const step = Math.max(1, Math.ceil(drawn.length / LASSO_POINTS));
  const polygon = drawn.filter((_, n) => n % step === 0).map(([x, y]) => toPlace(x, y).map((v) => v.toFixed(3)).join("_"));
  const query = new URLSearchParams({ lasso: polygon.join("~") });
  if (only === "-1") query.set("where", "category_id is null");
  else if (only !== "") query.set("category", data.ids[Number(only)]);
  location.href = `/?${query}`;
});

canvas?.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [x, y] = toPlace(...at(event));
  const scale = Math.min(60, Math.max(1, view.scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2)));
  view.x += x * (view.scale - scale);
  view.y += y * (view.scale - scale);
  view.scale = scale;
  draw();
  legend();
}, { passive: false });

function nearest(x, y) {
  let best = -1;
  let least = PICK * PICK;
  for (let n = 0; n < (data?.clips.length ?? 0); n++) {
    const [px, py] = toScreen(data.x[n], data.y[n]);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least && (only === "" || String(data.category[n]) === only)) [best, least] = [n, distance];
  }
  return best;
}

function open([x, y]) {
  const clip = nearest(x, y);
  if (clip >= 0) location.href = `/clips/${encodeURIComponent(data.clips[clip])}`;
}

function hint(x, y) {
  const clip = nearest(x, y);
  tip.hidden = clip < 0;
  if (clip < 0) return;
  tip.replaceChildren();
  const picture = document.createElement("img");
  picture.src = `/clips/${encodeURIComponent(data.clips[clip])}/poster.jpg`;
  picture.alt = "";
  const name = document.createElement("bdi");
  name.textContent = data.category[clip] < 0 ? "no category" : data.names[data.category[clip]];
  tip.append(picture, name);
  tip.style.left = `${Math.min(x + 12, canvas.clientWidth - 150)}px`;
  tip.style.top = `${Math.min(y + 12, canvas.clientHeight - 120)}px`;
}

// What the colours mean: of the clips in view, the categories that most of them have.
function legend() {
  const list = document.getElementById("map-legend");
  const count = new Map();
  for (let n = 0; n < (data?.clips.length ?? 0); n++) {
    const number = data.category[n];
    if (inView(toScreen(data.x[n], data.y[n]))) count.set(number, (count.get(number) ?? 0) + 1);
  }
  const first = (number) => (String(number) === only ? 1 : 0);
  const ranked = [...count].sort((a, b) => first(b[0]) - first(a[0]) || b[1] - a[1] || a[0] - b[0]);
  list.replaceChildren(...ranked.slice(0, NAMED).map(([number, clips]) => {
    const swatch = document.createElement("i");
    swatch.style.background = colour(number);
    const name = document.createElement("bdi");
    name.textContent = number < 0 ? "no category" : data.names[number];
    const many = document.createElement("small");
    many.textContent = clips;
    const button = document.createElement("button");
    button.className = "plain";
    button.setAttribute("aria-pressed", String(number) === only);
    button.append(swatch, name, many);
    button.addEventListener("click", () => showOnly(String(number) === only ? "" : String(number)));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  if (ranked.length <= NAMED) return;
  const more = document.createElement("li");
  more.textContent = `and ${ranked.length - NAMED} categories more: zoom in, or choose one`;
  list.append(more);
}

function showOnly(number) {
  only = number;
  document.getElementById("map-category").value = only;
  draw();
  legend();
}

async function load() {
  const said = document.getElementById("map-said");
  const answer = await fetch("/map.json").catch(() => null);
  if (!answer?.ok && answer?.status !== 409) {
    said.textContent = "The map cannot be loaded; is the server still running?";
    return;
  }
  if (answer.status === 202) {
    said.textContent = "The map is being drawn …";
    setTimeout(load, 1500);
    return;
  }
  const found = await answer.json();
  if (!answer.ok) {
    said.textContent = found.trouble;
    return;
  }
  data = found;
  said.textContent = `${data.clips.length} clips${data.drawing ? ", and newer ones being drawn" : ""}.`;
  const choice = document.getElementById("map-category");
  data.names.forEach((name, number) => choice.append(new Option(name, String(number))));
  choice.append(new Option("no category", "-1"));
  choice.addEventListener("change", () => showOnly(choice.value));
  showOnly(only);
}

if (canvas) {
  addEventListener("resize", () => {
    draw();
    legend();
  });
  load();
}
