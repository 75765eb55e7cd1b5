// Pictures and masks, fetched and traced ahead of the reviewer.

import { Mask } from "./mask.js";

// Fetch what an item shows, once: `item.ready` has it, or `item.problem` says what is wrong.
export function prepare(item) {
  if (item.problem) return Promise.resolve({});
  item.assets ??= (async () => {
    const [picture, mask, other] = await Promise.all([
      fetch(item.picture).then(async (answer) => {
        if (!answer.ok) throw new Error((await answer.json()).detail);
        return createImageBitmap(await answer.blob());
      }),
      Mask.fetch(item.mask),
      item.other ? Mask.fetch(item.other) : null,
    ]);
    if (picture.width !== mask.width || picture.height !== mask.height) {
      throw new Error("the image has another size than its mask: make the mask anew");
    }
    // Traced now, so that the first look at it need not wait.
    mask.outline();
    other?.outline();
    return { picture, mask, other };
  })();
  item.assets.then((found) => (item.ready = found), (error) => {
    item.problem = error.message;
    item.ready = {};
  });
  return item.assets.catch(() => ({}));
}
