/** Faces are barred by the server until the coder unlocks them, and can be barred again. */

import { get, post } from "./api.js";
import { el } from "./dom.js";
import { ask } from "./help.js";

export function unlocking(page) {
  const { session, pictures, player } = page;
  page.facesButton = el("button", { type: "button", class: "faces-button", onclick: () => page.toggleFaces() });

  function show() {
    const clear = session.faces === "clear";
    pictures.show(session.faces ?? "");
    page.facesButton.replaceChildren(el("span", {}, clear ? "Bar faces" : "Show faces"), el("kbd", {}, "V"));
    page.facesButton.setAttribute("aria-pressed", String(clear));
    if (!page.facesNote) return;
    page.facesNote.hidden = clear;
    page.facesNote.textContent = `${session.faces === "blurred" ? "Faces are blurred" : "Eyes are barred"}: V shows faces`;
  }

  page.toggleFaces = async () => {
    let wanted = "eyes";
    if (session.faces !== "clear") {
      wanted = await ask(
        "Show faces?",
        [
          "Pictures of faces are personal data: whoever sees this screen will recognise the person. Show them only where the consent that was given covers that nobody else looks on, or all who do are covered as well.",
          "Until you close this review server or bar them again, pictures are shown as they were recorded. Barred pictures never leave the server unbarred.",
        ],
        [
          { words: "Blur only", value: "blurred" },
          { words: "Show faces", value: "clear", kind: "yes" },
        ],
      );
    }
    if (!wanted) return;
    try {
      Object.assign(session, await post("/api/session/unlock", { faces: wanted }));
    } catch (error) {
      page.say(error.message);
      return;
    }
    show();
    page.faces?.forget();
    player.refresh();
    page.say(session.faces === "clear" ? "Faces are shown." : "Faces are barred.");
  };
  // another window may have barred faces meanwhile
  player.on("problem", async (error) => {
    if (error.status !== 403) return;
    const told = await get("/api/session");
    if (told.faces === session.faces) return;
    Object.assign(session, told);
    show();
    page.faces?.forget();
    player.refresh();
  });
  page.showFacesState = show;
  show();
}
