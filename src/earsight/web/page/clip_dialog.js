// The dialog about one clip: a large player, how well each second fits the query, and whether the
// sound is in sync.

import * as api from "./api.js";
import { $, clock, el, isPart, nameOf, readable, tell } from "./dom.js";
import { Timeline } from "./timeline.js";
import { stop } from "./player.js";

const IN_SYNC = 45; // ms: a smaller offset is no more than a frame

let query = null; // {name, parameters, file}: the query of the results that are shown
let shown = null; // {clip, media, chart}
let asked = null; // AbortController of what is being asked about the clip
let chart = null;

/** Set the query that each second of a clip is compared with; null: none. */
export function setQuery(current) {
  query = current;
}

export function setUpClipDialog() {
  const box = $("clip-dialog");
  chart = new Timeline($("clip-dialog-chart"), (seconds, plays) => {
    if (!shown) return;
    shown.media.currentTime = seconds;
    if (plays) shown.media.play().catch(() => {});
  }, () => shown && (shown.media.paused ? shown.media.play().catch(() => {}) : shown.media.pause()));
  $("clip-dialog-close").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => event.target === box && box.close()); // the backdrop
  box.addEventListener("close", leave);
  $("sync-check").addEventListener("click", checkSync);
  $("sync-play").addEventListener("click", swap);
}

/**
 * Open it.
 *
 * @param clip As the API gives it; start and end, if there, are the moment that was found.
 * @param modality The modality that was searched for.
 */
export function openClipDialog(clip, modality) {
  stop();
  leave();
  asked = new AbortController();
  $("clip-dialog-title").replaceChildren(el("bdi", {}, nameOf(clip.path)));
  $("clip-dialog-facts").textContent = [clip.label, clock(clip.seconds)].filter(Boolean).join(" · ");
  const media = makePlayer(clip);
  shown = { clip, media, repaired: false };
  $("clip-dialog-player").replaceChildren(media);
  const both = clip.has.includes("audio") && clip.has.includes("visual");
  $("sync").hidden = !both;
  $("sync-check").hidden = $("sync-check").disabled = false;
  $("sync-play").hidden = true;
  $("sync-said").textContent = "";
  $("clip-dialog").showModal();
  drawTime(clip, modality);
}

function makePlayer(clip) {
  const kind = clip.has.includes("visual") ? "video" : "audio";
  const media = el(kind, { class: "large", controls: true, playsinline: true, preload: "metadata",
    src: api.mediaOf(clip.id), "aria-label": nameOf(clip.path) });
  media.addEventListener("error", async () => {
    const why = media.dataset.repaired ? "The repaired copy could not be made or played."
      : await api.refusalOf(clip.id) || "This browser cannot play this kind of file.";
    if (shown?.media === media) tell($("clip-dialog-failed"), why);
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
  tell($("clip-dialog-failed"), "");
}

async function drawTime(clip, modality) {
  const { signal } = asked;
  const figure = $("clip-dialog-time");
  const wanted = modality !== "text" && clip.has.includes(modality);
  figure.hidden = !query || !wanted;
  if (figure.hidden) return;
  $("clip-dialog-caption").textContent = `How well each second fits ${query.name}`;
  $("clip-dialog-best").textContent = "…";
  chart.clear(clip.seconds ?? 0);
  let found;
  try {
    found = await api.timeline(clip.id, { ...query.parameters, for: modality }, query.file, signal);
  } catch (error) {
    if (!signal.aborted) $("clip-dialog-best").textContent = error.message;
    return;
  }
  if (signal.aborted) return;
  const best = chart.draw(found, clip, isPart(clip));
  $("clip-dialog-best").textContent = best
    ? `Best at ${clock(best.time)}: similarity ${best.score.toFixed(2).replace("-", "−")}. Click the chart or use the arrow keys to move.`
    : "No second of this clip can be compared.";
}

async function checkSync() {
  const { signal } = asked;
  const { clip } = shown;
  $("sync-check").disabled = true;
  $("sync-said").textContent = "Comparing the onsets of sound and of motion …";
  try {
    const found = await api.offset(clip.id, signal);
    if (signal.aborted) return;
    $("sync-said").textContent = describeOffset(found);
    $("sync-check").hidden = true;
    $("sync-play").hidden = found.offset_ms === null || Math.abs(found.offset_ms) < IN_SYNC;
    $("sync-play").textContent = "Play the repaired copy";
  } catch (error) {
    if (signal.aborted) return;
    $("sync-said").textContent = error.message;
    $("sync-check").disabled = false;
  }
}

function describeOffset({ offset_ms: ms, agreeing, of, why }) {
  if (ms === null) return `No offset was found. ${readable(why)}`;
  const sure = `${agreeing} of ${of} independent estimates agree.`;
  const off = Math.abs(Math.round(ms));
  if (off < IN_SYNC) return `Sound and video are in sync within one frame; ${sure}`;
  return `The sound is ${off} ms ${ms > 0 ? "late" : "early"}; ${sure}`;
}

/** Change between the clip and its repaired copy, at the same second. */
function swap() {
  const { media, clip } = shown;
  shown.repaired = !shown.repaired;
  const at = media.currentTime;
  tell($("clip-dialog-failed"), "");
  if (shown.repaired) media.dataset.repaired = "yes";
  else delete media.dataset.repaired;
  media.src = shown.repaired ? api.repairedOf(clip.id) : api.mediaOf(clip.id);
  media.currentTime = at;
  media.play().catch(() => {});
  $("sync-play").textContent = shown.repaired ? "Play the original" : "Play the repaired copy";
}
