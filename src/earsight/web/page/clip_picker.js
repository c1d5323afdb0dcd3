// The list of the library's clips, by pages, to pick one as the query.

import * as api from "./api.js";
import { $, after, clock, el, icon, perceived, plural, readable } from "./dom.js";

const PAGE = 60;

let onSearch = null;
let offset = 0;
let running = null;

export function setUpClipPicker(search) {
  onSearch = search;
  $("pick").addEventListener("click", () => {
    offset = 0;
    $("picker").showModal();
    fill();
  });
  $("picker-close").addEventListener("click", () => $("picker").close());
  $("picker").addEventListener("click", (event) => {
    if (event.target === $("picker")) $("picker").close(); // the backdrop
  });
  const anew = () => { offset = 0; fill(); };
  $("picker-name").addEventListener("input", after(200, anew));
  $("picker-label").addEventListener("change", anew);
  $("picker-prev").addEventListener("click", () => { offset = Math.max(0, offset - PAGE); fill(); });
  $("picker-next").addEventListener("click", () => { offset += PAGE; fill(); });
}

async function fill() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const asked = { name: $("picker-name").value, label: $("picker-label").value, offset, limit: PAGE };
  let page;
  try {
    page = await api.clips(asked, signal);
  } catch (error) {
    if (!signal.aborted) $("picker-said").textContent = error.message;
    return;
  }
  if (signal.aborted) return;
  const last = offset + page.clips.length;
  $("picker-said").textContent = !page.total ? "No clip matches."
    : page.total > PAGE ? `${(offset + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${plural(page.total, "clip")}`
      : plural(page.total, "clip");
  $("picker-prev").disabled = offset === 0;
  $("picker-next").disabled = last >= page.total;
  $("picker-list").replaceChildren(...page.clips.map(row));
  $("picker-list").scrollTop = 0;
}

function row(clip) {
  const pick = (by) => () => {
    $("picker").close();
    onSearch({ kind: "clip", clip, by, for: null });
  };
  const sides = el("span", { class: "sides" }, ...clip.has.map((by) =>
    el("button", { type: "button", "aria-label": `Search by the ${perceived[by]} of ${clip.path}`, onclick: pick(by) },
      icon(by === "audio" ? "ear" : "eye"), `its ${perceived[by]}`)));
  return el("li", {},
    clip.has.includes("visual")
      ? el("img", { src: api.thumbnailOf(clip.id), alt: "", loading: "lazy", decoding: "async" })
      : el("span", { class: "noimg" }, icon("ear")),
    el("span", { class: "what" }, el("bdi", {}, readable(clip.path)),
      el("span", { class: "hint" }, [clip.label, clock(clip.seconds)].filter(Boolean).join(" · "))),
    clip.has.length ? sides : el("span", { class: "hint" }, clip.message || "cannot be read"));
}
