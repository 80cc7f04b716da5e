"use strict";

// Pictures: class maps are painted over the image, by what the controls choose.
{
  const IGNORED = 0; // of class maps; class k has k + 1
  const WRONG = [213, 94, 0, 255];
  const RIGHT_HERE = [0, 114, 178, 255];
  const BOTH_WRONG = [120, 120, 120, 170];
  const NOTHING = [0, 0, 0, 0];
  const percent = (part) => (100 * part).toFixed(1) + " %";

  async function decode(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint16Array(await new Response(stream).arrayBuffer());
  }

  // What is painted of a map: the color of each pixel, and which pixels are counted for the caption.
  function classesView(level, own) {
    const colors = [[255, 255, 255, 220], ...level.colors.map((color) => [...color, 220])];
    return { color: (pixel) => colors[own[pixel]] };
  }

  function errorsView(target, own) {
    const wrong = (pixel) => target[pixel] !== IGNORED && own[pixel] !== target[pixel];
    return { color: (pixel) => (wrong(pixel) ? WRONG : NOTHING), shares: [["wrong", wrong]] };
  }

  function differenceView(target, own, other) {
    const known = (pixel) => target[pixel] !== IGNORED;
    const here = (pixel) => known(pixel) && own[pixel] === target[pixel] && other[pixel] !== target[pixel];
    const there = (pixel) => known(pixel) && own[pixel] !== target[pixel] && other[pixel] === target[pixel];
    const both = (pixel) => known(pixel) && own[pixel] !== target[pixel] && other[pixel] !== target[pixel];
    const color = (pixel) => (here(pixel) ? RIGHT_HERE : there(pixel) ? WRONG : both(pixel) ? BOTH_WRONG : NOTHING);
    return { color, shares: [["right only here", here], ["wrong only here", there]] };
  }

  function showPictures(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const [input, target, ...panels] = root.querySelectorAll("figure");
    const thumbs = root.querySelectorAll(".thumbs img");
    const select = root.querySelector("select");
    const chosen = (key) => root.querySelector(`[name="pictures-${key}"]:checked`).value;
    const decoded = new Map();

    function load(image) {
      if (!decoded.has(image)) {
        decoded.set(image, Promise.all([image.target, ...image.rows.map((row) => row.classes)].map(decode)));
      }
      return decoded.get(image);
    }

    // The maps of the chosen image and level: the target's, then those of the rows.
    async function maps(image, level) {
      const size = image.width * image.height;
      return (await load(image)).map((map) => map.subarray(level * size, (level + 1) * size));
    }

    function paint(figure, image, view, title, lines) {
      const canvas = figure.querySelector("canvas");
      const pixels = new ImageData(image.width, image.height);
      for (let pixel = 0; pixel < image.width * image.height; pixel++) {
        pixels.data.set(view.color(pixel), 4 * pixel);
      }
      [canvas.width, canvas.height] = [image.width, image.height];
      canvas.getContext("2d").putImageData(pixels, 0, 0);
      canvas.setAttribute("aria-label", [title, ...lines].join(", "));
      figure.querySelector(".result").textContent = lines.join(", ");
    }

    function shares(view, truth) {
      const known = truth.reduce((sum, value) => sum + (value !== IGNORED), 0);
      return (view.shares ?? []).map(([text, holds]) => {
        const found = truth.reduce((sum, _, pixel) => sum + holds(pixel), 0);
        return known ? `${percent(found / known)} ${text}` : `no pixel to be ${text}`;
      });
    }

    function legend(level, all, kind) {
      const present = new Set(all.flatMap((map) => [...new Set(map)]));
      const items =
        kind === "errors"
          ? [[WRONG, "wrong"]]
          : kind === "difference"
            ? [
                [RIGHT_HERE, `right here, wrong in ${data.rows[select.value]}`],
                [WRONG, `wrong here, right in ${data.rows[select.value]}`],
                [BOTH_WRONG, "wrong in both"],
              ]
            : [
                ...level.names.map((name, index) => [level.colors[index], name]).filter((_, index) => present.has(index + 1)),
                ...(present.has(IGNORED) ? [[[255, 255, 255], "ignored"]] : []),
              ];
      root.querySelector(".legend").replaceChildren(
        ...items.map(([color, text]) => {
          const item = document.createElement("li");
          item.style.setProperty("--color", `rgb(${color.slice(0, 3)})`);
          item.textContent = text;
          return item;
        }),
      );
    }

    async function show() {
      const [index, number, kind] = [Number(chosen("image")), Number(chosen("level")), chosen("view")];
      const [image, level] = [data.images[index], data.levels[number]];
      const [truth, ...rows] = await maps(image, number);
      if (index !== Number(chosen("image"))) return; // another one was chosen meanwhile
      root.dataset.view = kind;
      root.querySelectorAll(".frame img").forEach((picture) => (picture.src = thumbs[index].src));
      input.querySelector("img").alt = `image ${image.id}`;
      input.querySelector(".result").textContent = image.id;
      paint(target, image, classesView(level, truth), "target", [`level ${number + 1}`]);
      rows.forEach((own, row) => {
        const view =
          kind === "classes"
            ? classesView(level, own)
            : kind === "errors" || row === Number(select.value)
              ? errorsView(truth, own)
              : differenceView(truth, own, rows[select.value]);
        const miou = image.rows[row].miou[number];
        const score = miou === null ? "no mIoU" : `mIoU ${miou.toFixed(3)}`;
      const isOther = kind === "difference" && row === Number(select.value);
        paint(panels[row], image, view, data.rows[row], [score, ...shares(view, truth), ...(isOther ? ["the others are compared with it"] : [])]);
      });
      legend(level, [truth, ...rows], kind);
    }

    // Pointing at a pixel names its class in all pictures.
    async function point(event) {
      const canvas = event.target.closest("canvas");
      root.classList.toggle("pointing", canvas !== null);
      if (canvas === null) return;
      const [image, number] = [data.images[chosen("image")], Number(chosen("level"))];
      const all = await maps(image, number);
      const box = canvas.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      const place = (share, size) => Math.min(Math.max(Math.floor(share * size), 0), size - 1);
      const pixel = place(y, image.height) * image.width + place(x, image.width);
      root.style.setProperty("--x", `${100 * x}%`);
      root.style.setProperty("--y", `${100 * y}%`);
      [target, ...panels].forEach((figure, map) => {
        const value = all[map][pixel];
        figure.querySelector(".pointed").textContent = value === IGNORED ? "ignored" : data.levels[number].names[value - 1];
      });
    }

    root.querySelectorAll("input, select").forEach((control) => control.addEventListener("change", show));
    select?.addEventListener("change", () => {
      root.querySelector('[value="difference"]').checked = true;
      show();
    });
    root.querySelector(".sheet").addEventListener("pointermove", point);
    root.querySelector(".sheet").addEventListener("pointerleave", point);
    show().catch((error) => {
      root.querySelector(".legend").textContent = `Class maps cannot be shown: ${error.message}`;
    });
  }

  document.querySelectorAll(".pictures").forEach(showPictures);
}
