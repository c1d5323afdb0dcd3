// Points as small images: 20,000 of them are copied into one image in a few milliseconds,
// with or without a graphics card.

function drawn(size, draw) {
  const canvas = new OffscreenCanvas(size, size);
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  draw(ink);
  return ink.getImageData(0, 0, size, size);
}

/** A CSS colour as the 32-bit word of a pixel. */
export function wordOf(colour) {
  const image = drawn(1, (ink) => {
    ink.fillStyle = colour;
    ink.fillRect(0, 0, 1, 1);
  });
  return new Uint32Array(image.data.buffer)[0];
}

let made = { key: "" };

/**
 * The sprites of all kinds of points: [group][round] → {size, words, bytes}.
 *
 * @param radius In CSS pixels.
 * @param scale Pixels of the image for each of them.
 * @param colours One for each group.
 * @param paper What squares are filled with, and discs are rimmed with.
 */
export function spritesFor(radius, scale, colours, paper) {
  const key = [radius, scale, paper, ...colours].join();
  if (made.key === key) return made.sprites;
  const half = Math.ceil((radius + 2) * scale);
  const sprites = colours.map((colour) => [0, 1].map((round) => {
    const image = drawn(2 * half, (ink) => {
      ink.translate(half, half);
      ink.scale(scale, scale);
      ink.beginPath();
      if (round) ink.arc(0, 0, radius, 0, 2 * Math.PI);
      else ink.rect(-0.88 * radius, -0.88 * radius, 1.76 * radius, 1.76 * radius);
      ink.fillStyle = round ? colour : paper;
      ink.fill();
      ink.lineWidth = round ? 0.8 : Math.max(1.3, radius / 2.6);
      ink.strokeStyle = round ? paper : colour;
      ink.stroke();
    });
    return { size: 2 * half, bytes: image.data, words: new Uint32Array(image.data.buffer) };
  }));
  made = { key, sprites };
  return sprites;
}

/**
 * Copy a sprite into an image.
 *
 * @param sheet {wide, high, bytes, words}: the image, opaque everywhere.
 * @param left, top Whole pixels; what lies outside is cut off.
 */
export function drawSprite(sheet, sprite, left, top) {
  const { size, bytes, words } = sprite;
  const [from, to] = [Math.max(0, -left), Math.min(size, sheet.wide - left)];
  for (let row = Math.max(0, -top); row < Math.min(size, sheet.high - top); row += 1) {
    let at = (top + row) * sheet.wide + left + from;
    for (let k = row * size + from; k < row * size + to; k += 1, at += 1) {
      const opaque = bytes[4 * k + 3];
      if (opaque === 255) sheet.words[at] = words[k];
      else if (opaque) mix(sheet.bytes, 4 * at, bytes, 4 * k, opaque / 255);
    }
  }
}

function mix(below, at, above, k, share) {
  for (let channel = 0; channel < 3; channel += 1) {
    below[at + channel] += share * (above[k + channel] - below[at + channel]);
  }
}
