// A clip as a card: its picture or its waveform, what is known of it, and what can be done with it.

import * as api from "./api.js";
import { openClipDialog } from "./clip_dialog.js";
import { clock, el, icon, isPart, nameOf, perceived, readable, toast } from "./dom.js";
import { isPlaying, play, stop } from "./player.js";
import { waveform } from "./waveform.js";

const STILL = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i; // pictures: nothing of them plays
const HOVER = 250; // ms before a card that the mouse rests on begins to play

const place = { root: "", local: false };

/** Where the clips lie, and whether the server may open folders on this very machine. */
export function setPlace(root, local) {
  Object.assign(place, { root: root.replace(/\/$/, ""), local });
}

const pathOf = (clip) => `${place.root}/${clip.path}`;

/** The button that shows a clip and plays it in place. */
export function makeFace(clip, modality, { rank, said = "", badge = "" } = {}) {
  const seen = modality === "visual" && clip.has.includes("visual");
  const heard = !seen && clip.has.includes("audio");
  const still = STILL.test(clip.path);
  const where = clip.start ? `, from ${clock(clip.start)}` : "";
  const face = el("button", {
    type: "button",
    class: `face ${seen ? "seen" : "heard"}`,
    "aria-pressed": still ? null : "false",
    "aria-label": `${still ? "Open the picture" : "Play"} ${nameOf(clip.path)}, ${seen ? "video" : "sound"}${said}${where}`,
  });
  if (seen) {
    const at = clip.start ? (clip.start + clip.end) / 2 : null;
    face.append(el("img", {
      src: api.thumbnailOf(clip.id, at), alt: "", loading: "lazy", decoding: "async",
      onerror: ({ target }) => target.replaceWith(el("span", { class: "nothing" }, "no picture available here")),
    }));
    face.append(el("span", { class: "played" }));
  } else if (heard) {
    face.append(waveform(clip.id));
  } else {
    face.append(el("span", { class: "nothing" }, clip.message || "nothing to show"));
  }
  if (rank) face.append(el("span", { class: "rank", "aria-hidden": "true" }, String(rank)));
  if (badge) face.append(el("span", { class: "badge", "aria-hidden": "true" }, badge));
  face.append(el("span", { class: "cue", "aria-hidden": "true" }, icon(still ? "all" : "play")));
  if (still) face.addEventListener("click", () => window.open(api.mediaOf(clip.id), "_blank", "noopener"));
  else if (seen || heard) wire(face, clip, seen ? "visual" : "audio");
  else face.disabled = true;
  return face;
}

function wire(face, clip, modality) {
  let waiting = 0;
  let hovered = false;
  face.addEventListener("click", () => {
    clearTimeout(waiting);
    if (isPlaying(face) && !hovered) stop();
    else play(face, clip, modality);
    hovered = false;
  });
  face.addEventListener("pointerenter", (event) => {
    if (event.pointerType !== "mouse" || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    waiting = setTimeout(() => {
      if (isPlaying(face)) return;
      hovered = true;
      play(face, clip, modality, true);
    }, HOVER);
  });
  face.addEventListener("pointerleave", () => {
    clearTimeout(waiting);
    if (hovered && isPlaying(face)) stop();
    hovered = false;
  });
}

/**
 * A whole card.
 *
 * @param clip As the API gives it, with score, start and end where it is an answer.
 * @param modality The modality that was searched for: "audio" or "visual".
 * @param onSearch Called with the next query, {kind, clip, by, for}.
 */
export function makeCard(clip, modality, onSearch, rank = 0) {
  const score = clip.score ?? null;
  const shown = score === null ? "" : score.toFixed(2).replace("-", "−");
  const said = `${clip.label ? `, class ${clip.label}` : ""}${rank ? `, result ${rank}` : ""}${shown ? `, score ${shown}` : ""}${clip.is_query ? ", the query itself" : ""}`;
  const badge = clip.is_query ? "the query itself" : "";
  const name = nameOf(clip.path);
  const copies = clip.copies?.length ? listed(clip.copies) : null;
  const span = isPart(clip) || (clip.end && clip.seconds > 30) ? `${clock(clip.start)}–${clock(clip.end)} of ` : "";
  const card = el("article", { class: "card", "data-id": clip.id, "data-label": clip.label ?? "" },
    makeFace(clip, modality === "text" ? "visual" : modality, { rank, said, badge }),
    el("div", { class: "line" },
      el("span", { class: "label" }, clip.label ?? "no class"),
      clip.timing === null || clip.timing === undefined ? null
        : el("span", { class: "score", title: "How far its match in timing stands above that of other clips" },
          `timing ${clip.timing.toFixed(1).replace("-", "−")}`),
      shown ? el("span", { class: "score", title: "Cosine similarity" }, shown) : null),
    el("div", { class: "line small" },
      el("bdi", { class: "name", title: readable(clip.path) }, name),
      el("span", { class: "length" }, span + clock(clip.seconds))),
    copies, modality === "text" ? excerpt(clip) : null,
    actions(clip, modality, onSearch, name));
  return card;
}

function listed(copies) {
  return el("details", { class: "copies" },
    el("summary", {}, `+${copies.length === 1 ? "1 copy" : `${copies.length} copies`}`),
    el("ul", {}, ...copies.map((path) => el("li", {}, el("bdi", {}, readable(path))))));
}

/** The text beside a clip; of subtitles, those of the span that was found. */
function excerpt(clip) {
  const line = el("p", { class: "excerpt" });
  api.text(clip.id, { start: clip.start, end: clip.end }).then(
    (found) => { line.textContent = found.text; },
    (error) => { line.textContent = error.message; });
  return line;
}

function actions(clip, modality, onSearch, name) {
  const search = (by, wanted) => () => onSearch({ kind: "clip", clip, by, for: wanted });
  const menu = el("details", { class: "menu" },
    el("summary", { "aria-label": `More actions for ${name}` }, icon("more")));
  const entries = el("div", { class: "entries" });
  for (const by of ["audio", "visual"]) {
    if (!clip.has.includes(by)) continue;
    entries.append(el("button", { type: "button", "data-do": `by-${by}`, onclick: search(by, null) },
      `Search by its ${perceived[by]}`));
  }
  if (clip.text) {
    entries.append(el("button", { type: "button", "data-do": "by-text", onclick: search("text", null) }, "Search by its text"));
  }
  entries.append(el("button", { type: "button", "data-do": "copy", onclick: () => copy(pathOf(clip)) }, "Copy path"));
  if (place.local) {
    entries.append(el("button", { type: "button", "data-do": "open", onclick: () => openFolder(clip) }, "Open folder"));
  }
  menu.append(entries);
  entries.addEventListener("click", () => { menu.open = false; });
  const row = el("div", { class: "acts" });
  if (clip.has.includes(modality) || (modality === "text" && clip.text)) {
    row.append(el("button", { type: "button", class: "quiet like", "data-do": "like",
      onclick: search(modality, modality), "aria-label": `More like ${name}` }, "More like this"));
  }
  if (clip.has.length && !STILL.test(clip.path)) {
    row.append(el("button", { type: "button", class: "quiet clip-dialog-open", "data-do": "details",
      title: "Details: similarity over time, and whether the sound is in sync",
      "aria-label": `Details of ${name}`, onclick: () => openClipDialog(clip, modality) }, icon("time")));
  }
  row.append(menu);
  return row;
}

async function copy(path) {
  try {
    await navigator.clipboard.writeText(path);
    toast(`Copied: ${path}`);
  } catch {
    toast(`The browser did not allow copying. The path is ${path}`);
  }
}

async function openFolder(clip) {
  try {
    await api.open(clip.id);
    toast("The folder was opened.");
  } catch (error) {
    toast(error.message);
  }
}

// A menu closes when one clicks elsewhere, and with Escape, which gives the focus back.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest?.("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

/** Arrow keys go from card to card, as they lie on the screen. */
export function walkWithArrows(list) {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!step || !event.target.classList.contains("face")) return;
    const faces = [...list.querySelectorAll(".face")];
    const here = event.target.getBoundingClientRect();
    let best = null;
    for (const face of faces) {
      const box = face.getBoundingClientRect();
      const [dx, dy] = [box.left - here.left, box.top - here.top];
      const along = dx * step[0] + dy * step[1];
      const aside = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
      if (along < 8) continue;
      const cost = along + 3 * aside;
      if (!best || cost < best.cost) best = { face, cost };
    }
    event.preventDefault();
    best?.face.focus();
  });
}
