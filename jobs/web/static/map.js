// The map: points on a canvas, a lasso, and the way to the grid. A lasso is a polygon in the grid's address.
"use strict";

const canvas = document.getElementById("map");
const tip = document.getElementById("map-tip");
const LASSO_POINTS = 60; // of the polygon in an address
const PICK = 8; // pixels within which the pointer means a clip

let data = null;
let view = { scale: 1, x: 0, y: 0 }; // of the unit square, in canvas sizes
let lasso = null;
let moving = null;
let only = "";

const colour = (number) => (number < 0 ? "#8888" : `hsl(${(number * 137.508) % 360} 65% 55%)`);
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
    if (x < 0 || y < 0 || x > canvas.clientWidth || y > canvas.clientHeight) continue;
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
  moving = null;
  const drawn = lasso;
  lasso = null;
  draw();
  if (!drawn || !data) return;
  if (drawn.length < 4) return open(drawn[0]);
  const step = Math.max(1, Math.ceil(drawn.length / LASSO_POINTS));
  const polygon = drawn.filter((_, n) => n % step === 0).map(([x, y]) => toPlace(x, y).map((v) => v.toFixed(3)).join("_"));
  const query = new URLSearchParams({ lasso: polygon.join("~") });
  if (only !== "") query.set("where", `category = '${data.names[Number(only)].replaceAll("'", "''")}'`);
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
  choice.addEventListener("change", () => {
    only = choice.value;
    draw();
  });
  draw();
}

if (canvas) {
  addEventListener("resize", draw);
  load();
}
