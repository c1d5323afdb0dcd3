// A closer look at one clip: a large player, under it how well each second fits the query, and
// whether its sound is in step.

import * as api from "./api.js";
import { $, clock, el, isPart, nameOf, readable, tell } from "./dom.js";
import { Timeline } from "./timeline.js";
import { stop } from "./player.js";

const LATE = 45; // ms: what is less is no more than a frame

let query = null; // {kind, name, parameters, file}: what the answers are answers to
let shown = null; // {clip, media, chart}
let asked = null; // AbortController of what is being asked about the clip
let chart = null;

/** The query that stands, or null: what a clip's seconds are held against. */
export function setQuery(standing) {
  query = standing;
}

export function setUpCloser() {
  const box = $("closer");
  chart = new Timeline($("closer-chart"), (seconds, plays) => {
    if (!shown) return;
    shown.media.currentTime = seconds;
    if (plays) shown.media.play().catch(() => {});
  }, () => shown && (shown.media.paused ? shown.media.play().catch(() => {}) : shown.media.pause()));
  $("closer-close").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => event.target === box && box.close()); // the backdrop
  box.addEventListener("close", leave);
  $("insync-go").addEventListener("click", findOut);
  $("insync-play").addEventListener("click", swap);
}

/**
 * Open it.
 *
 * @param clip As the API gives it; start and end, if there, are the moment that answers.
 * @param modality What of it answers.
 */
export function look(clip, modality) {
  stop();
  leave();
  asked = new AbortController();
  $("closer-title").replaceChildren(el("bdi", {}, nameOf(clip.path)));
  $("closer-facts").textContent = [clip.label, clock(clip.seconds)].filter(Boolean).join(" · ");
  const media = makePlayer(clip);
  shown = { clip, media, repaired: false };
  $("closer-player").replaceChildren(media);
  const both = clip.has.includes("audio") && clip.has.includes("visual");
  $("insync").hidden = !both;
  $("insync-go").hidden = $("insync-go").disabled = false;
  $("insync-play").hidden = true;
  $("insync-said").textContent = "";
  $("closer").showModal();
  drawTime(clip, modality);
}

function makePlayer(clip) {
  const kind = clip.has.includes("visual") ? "video" : "audio";
  const media = el(kind, { class: "large", controls: true, playsinline: true, preload: "metadata",
    src: api.mediaOf(clip.id), "aria-label": nameOf(clip.path) });
  media.addEventListener("error", async () => {
    const why = media.dataset.repaired ? "The repaired copy could not be made or played."
      : await api.refusalOf(clip.id) || "This browser cannot play that kind of file.";
    if (shown?.media === media) tell($("closer-failed"), why);
  });
  if (clip.start) media.currentTime = clip.start;
  const follow = () => {
    if (shown?.media !== media) return;
    chart.playing(media.currentTime);
    if (!media.paused) requestAnimationFrame(follow);
  };
  for (const name of ["play", "timeupdate", "seeked"]) media.addEventListener(name, follow);
  return media;
}

function leave() {
  asked?.abort();
  if (!shown) return;
  const { media } = shown;
  shown = null;
  media.pause();
  media.removeAttribute("src");
  media.load(); // lets go of the connection
  media.remove();
  tell($("closer-failed"), "");
}

async function drawTime(clip, modality) {
  const { signal } = asked;
  const figure = $("closer-time");
  const wanted = modality !== "text" && clip.has.includes(modality);
  figure.hidden = !query || !wanted;
  if (figure.hidden) return;
  $("closer-caption").textContent = `How well each second fits ${query.name}`;
  $("closer-best").textContent = "…";
  chart.clear(clip.seconds ?? 0);
  let found;
  try {
    found = await api.timeline(clip.id, { ...query.parameters, for: modality }, query.file, signal);
  } catch (error) {
    if (!signal.aborted) $("closer-best").textContent = error.message;
    return;
  }
  if (signal.aborted) return;
  const best = chart.draw(found, clip, isPart(clip));
  $("closer-best").textContent = best
    ? `Best at ${clock(best.time)}, with ${best.score.toFixed(2).replace("-", "−")}. A click, or the arrow keys, jump there.`
    : "Nothing in it can be compared.";
}

async function findOut() {
  const { signal } = asked;
  const { clip } = shown;
  $("insync-go").disabled = true;
  $("insync-said").textContent = "Comparing what begins to sound with what begins to move …";
  try {
    const found = await api.offset(clip.id, signal);
    if (signal.aborted) return;
    $("insync-said").textContent = inWords(found);
    $("insync-go").hidden = true;
    $("insync-play").hidden = found.offset_ms === null || Math.abs(found.offset_ms) < LATE;
    $("insync-play").textContent = "Play it repaired";
  } catch (error) {
    if (signal.aborted) return;
    $("insync-said").textContent = error.message;
    $("insync-go").disabled = false;
  }
}

function inWords({ offset_ms: ms, agreeing, of, why }) {
  if (ms === null) return `No answer. ${readable(why)}`;
  const sure = `${agreeing} of ${of} witnesses agree.`;
  const off = Math.abs(Math.round(ms));
  if (off < LATE) return `Sound and sight are in step, to a frame; ${sure}`;
  return `The sound is ${off} ms ${ms > 0 ? "late" : "early"}; ${sure}`;
}

/** Change between the clip and its repaired copy, at the same second. */
function swap() {
  const { media, clip } = shown;
  shown.repaired = !shown.repaired;
  const at = media.currentTime;
  tell($("closer-failed"), "");
  if (shown.repaired) media.dataset.repaired = "yes";
  else delete media.dataset.repaired;
  media.src = shown.repaired ? api.repairedOf(clip.id) : api.mediaOf(clip.id);
  media.currentTime = at;
  media.play().catch(() => {});
  $("insync-play").textContent = shown.repaired ? "Play it as it is" : "Play it repaired";
}
