"use strict";
const box = document.getElementById("search"), shown = document.getElementById("shown");
const claims = [...document.querySelectorAll("#all .claims > li")].map((row) => [row, row.textContent.toLowerCase()]);

function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let hits = 0;
  for (const [row, text] of claims) {
    row.hidden = !words.every((word) => text.includes(word));
    hits += !row.hidden;
  }
  for (const group of document.querySelectorAll("#all section")) {
    group.hidden = !group.querySelector("li:not([hidden])");
  }
  shown.textContent = `${hits} of ${claims.length}`;
}

// A link into the fold opens it, and shows what a search has hidden.
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target?.closest("details");
  if (!fold) return;
  fold.open = true;
  if (target.hidden) {
    box.value = "";
    search();
  }
  target.scrollIntoView();
}

function frames() {
  for (const frame of document.querySelectorAll(".frame")) {
    frame.parentElement.classList.toggle("wide", frame.scrollWidth > frame.clientWidth + 1);
  }
}

box?.addEventListener("input", search);
addEventListener("hashchange", follow);
addEventListener("resize", frames);
if (box) search();
follow();
frames();
