// A colour for each class, the same in every view; told apart by shape and words as well.

// Twelve hues that stay apart on paper and on night; each as [on light, on dark].
const HUES = [
  ["#b4481c", "#ff9a6c"], ["#1f6fb2", "#6db3f2"], ["#2f7d4f", "#74cf97"], ["#8b4aa8", "#cf9ae8"],
  ["#a67a00", "#f0c850"], ["#b8305f", "#ff86ab"], ["#117c86", "#5bd0d8"], ["#6a6f1d", "#c3c95e"],
  ["#5a55c2", "#a5a1ff"], ["#8a5a3c", "#d4a582"], ["#4b6b88", "#a3bdd4"], ["#7d1f2d", "#e87c85"],
];
const REST = ["#6f737d", "#a0a4ae"]; // clips without a class, and classes beyond the twelfth

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** Give classes their colours: the largest twelve one each, the others grey. */
export function paletteFor(labels) {
  const ranked = [...labels].slice(0, HUES.length);
  const at = new Map(ranked.map((label, group) => [label, group]));
  return {
    ranked,
    rest: HUES.length,
    group: (label) => at.get(label) ?? HUES.length,
    colours: () => [...HUES, REST].map((pair) => pair[isDark() ? 1 : 0]),
  };
}
