// One clip plays at a time, in place: on the card it belongs to.

import * as api from "./api.js";
import { toast } from "./dom.js";
import { playedTo } from "./waveform.js";

let now = null; // {face, media, wave, timer}

export const isPlaying = (face) => now?.face === face;

export function stop() {
  if (!now) return;
  const { face, media, wave, line } = now;
  now = null;
  media.pause();
  media.removeAttribute("src");
  media.load(); // lets go of the connection
  media.remove();
  face.classList.remove("playing");
  face.setAttribute("aria-pressed", "false");
  if (wave) playedTo(wave, 0);
  if (line) line.style.transform = "scaleX(0)";
}

/**
 * Play a clip on its face.
 *
 * @param face The button that shows it: a picture, or a waveform.
 * @param clip As the API gives it; start and end, if there, are the span that was found.
 * @param modality "audio" plays the sound alone, "visual" the film.
 * @param hushed Begun by hovering: a film is silent then, and a refusal is no message.
 */
export async function play(face, clip, modality, hushed = false) {
  stop();
  const media = document.createElement(modality === "visual" ? "video" : "audio");
  media.playsInline = true;
  media.preload = "auto";
  media.muted = hushed && modality === "visual";
  media.src = api.mediaOf(clip.id);
  const mine = {
    face, media, wave: face.querySelector("canvas.wave"), line: face.querySelector(".played"),
  };
  now = mine;
  face.append(media);
  face.classList.add("playing");
  face.setAttribute("aria-pressed", "true");
  const start = clip.start || 0;
  const end = clip.end && clip.seconds && clip.end < clip.seconds - 0.5 ? clip.end : Infinity;
  if (start) media.currentTime = start;
  media.addEventListener("ended", () => now === mine && stop());
  media.addEventListener("error", async () => {
    if (now !== mine) return;
    stop();
    if (hushed) return;
    toast(await api.refusalOf(clip.id)
      || "This browser cannot play this kind of file, although Earsight can read it.");
  });
  try {
    await media.play();
  } catch (error) {
    if (now !== mine) return;
    if (error.name === "NotAllowedError" && !hushed) toast("The browser plays sound only after a click.");
    stop();
    return;
  }
  follow(mine, end);
}

/** Draw the place that plays, until it is over. */
function follow(mine, end) {
  if (now !== mine) return;
  const { media, wave, line } = mine;
  if (media.currentTime >= end) {
    stop();
    return;
  }
  const at = media.duration > 0 ? media.currentTime / media.duration : 0;
  if (wave) playedTo(wave, Math.max(at, 0.001));
  if (line) line.style.transform = `scaleX(${at})`;
  requestAnimationFrame(() => follow(mine, end));
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
document.addEventListener("visibilitychange", () => document.hidden && stop());
