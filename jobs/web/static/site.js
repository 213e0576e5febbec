// Small behaviours that HTML has not: play on hover, one scrubber for all visible clips, keys, selection.
// Every listener is the document's, so that what htmx swaps in behaves like what was there before.
"use strict";

const SIDE = 5; // moments in a row of a sheet; pipeline/video/strip.py
const HOVER_MS = 250;
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Play on hover, after a moment; what was loaded is freed when the pointer leaves.
let waiting = null;
let playing = null;

function stop() {
  clearTimeout(waiting);
  if (!playing) return;
  playing.pause();
  playing.removeAttribute("src");
  playing.load();
  playing.remove();
  playing = null;
}

function play(screen) {
  stop();
  if (still.matches || screen.classList.contains("scrubbed")) return;
  waiting = setTimeout(() => {
    playing = document.createElement("video");
    Object.assign(playing, { muted: true, loop: true, playsInline: true, src: mediaOf(screen, "clip.mp4") });
    screen.append(playing);
    playing.play().catch(stop);
  }, HOVER_MS);
}

const mediaOf = (screen, name) => `/clips/${encodeURIComponent(screen.dataset.clip)}/${name}`;
const screenIn = (event) => event.target.closest?.(".face")?.querySelector(".screen");

document.addEventListener("pointerover", (event) => {
  const screen = screenIn(event);
  if (screen && !screen.contains(playing)) play(screen);
});
document.addEventListener("pointerout", (event) => {
  if (screenIn(event) && !event.target.closest(".face").contains(event.relatedTarget)) stop();
});
document.addEventListener("focusin", (event) => {
  const screen = screenIn(event);
  if (screen && event.target.matches(":focus-visible")) play(screen);
});
document.addEventListener("focusout", (event) => screenIn(event) && stop());

// One scrubber for all clips that can be seen: each shows the same moment of its sheet.
const visible = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    isIntersecting ? visible.add(target) : visible.delete(target);
    if (isIntersecting) show(target);
  }
});

function show(screen) {
  const moment = Number(document.getElementById("scrub")?.value ?? 0);
  screen.classList.toggle("scrubbed", moment > 0);
  if (!moment) return;
  const last = SIDE - 1;
  screen.style.backgroundImage = `url("${mediaOf(screen, "sheet.jpg")}")`;
  screen.style.backgroundPosition = `${((moment % SIDE) / last) * 100}% ${(Math.floor(moment / SIDE) / last) * 100}%`;
}

function watchScreens() {
  visible.clear();
  watcher.disconnect();
  document.querySelectorAll("#cards .screen").forEach((screen) => watcher.observe(screen));
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "scrub") return;
  stop();
  const { value, max } = event.target;
  document.getElementById("moment").value = Number(value) ? `${Math.round((100 * value) / max)} %` : "poster";
  visible.forEach(show);
});

// What is selected goes into the address: ticked boxes as `select`, or, where all are selected, the others as `except`.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.elt.id !== "picked") return;
  const asked = event.detail.parameters;
  const all = document.querySelector("#bar input[name=select][value=all]") !== null;
  document.querySelectorAll("#cards input[name=pick]").forEach((box) => {
    if (box.checked !== all) asked.append(all ? "except" : "select", box.value);
  });
});

// Keys. Nothing is a key while somebody types.
const typing = (target) => target.matches("input:not([type=checkbox], [type=range]), textarea, select, [contenteditable]");

function cardKeys(event) {
  const cards = [...document.querySelectorAll("#cards .card")];
  const at = cards.findIndex((card) => card.contains(document.activeElement));
  const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (step !== undefined && at >= 0 && cards[at + step]) {
    cards[at + step].querySelector(".face").focus();
    return true;
  }
  if (event.key === "x" && at >= 0) {
    cards[at].querySelector("input[name=pick]")?.click();
    return true;
  }
  return false;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const pressed = [...document.querySelectorAll("[data-key]")].find((each) => each.dataset.key === event.key);
  const turn = { n: "next", p: "prev" }[event.key];
  const turned = turn && document.querySelector(`a[rel=${turn}]`);
  if (event.key === "/" && document.querySelector("input[type=search]")) {
    document.querySelector("input[type=search]").focus();
  } else if (pressed) {
    pressed.matches("input:not([type=checkbox]), select, textarea") ? pressed.focus() : pressed.click();
  } else if (turned) {
    turned.click();
  } else if (!cardKeys(event)) {
    return;
  }
  event.preventDefault();
});

// A token may come behind the # of a link, which no log keeps.
function takeToken() {
  const field = document.getElementById("token");
  if (!field || !location.hash) return;
  field.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
}

// What was just done is told once: not again by Back, by a reload, or to whom the address is sent.
function forgetDone() {
  const address = new URL(location.href);
  if (!address.searchParams.has("done")) return;
  address.searchParams.delete("done");
  history.replaceState(history.state, "", address.pathname + address.search + address.hash);
}

// On a narrow screen the clips come first, and their filters open when they are wanted.
function foldFilters() {
  if (matchMedia("(max-width: 760px)").matches) document.querySelector(".filters")?.removeAttribute("open");
}

document.addEventListener("DOMContentLoaded", () => {
  foldFilters();
  document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  watchScreens();
  takeToken();
  forgetDone();
});
document.addEventListener("htmx:afterSettle", watchScreens);

// What opens beneath a button stays within the window.
document.addEventListener("toggle", (event) => {
  const drop = event.target.querySelector?.(".drop");
  if (!drop) return;
  drop.style.left = "";
  const over = drop.getBoundingClientRect().right + 8 - document.documentElement.clientWidth;
  if (over > 0) drop.style.left = `${-over}px`;
}, true);

// The duplicate bench: wipe between two clips, or the difference of their pixels, at the same moment.
function bench(event) {
  const pair = document.querySelector(".pair");
  if (!pair) return;
  const [under, over] = pair.querySelectorAll("video");
  if (event.target.id === "wipe") pair.style.setProperty("--wipe", `${event.target.value}%`);
  if (event.target.id === "difference") pair.classList.toggle("difference", event.target.checked);
  if (event.target.id === "second") over.src = event.target.value;
  if (over.currentTime !== under.currentTime) over.currentTime = under.currentTime;
}
document.addEventListener("input", bench);
