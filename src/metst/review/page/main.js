/** Opens what the address names: the list of recordings, the review of one, or what two coders agree on. */

import { openAgreement } from "./agreement.js";
import { get, Refused } from "./api.js";
import { byId, el } from "./dom.js";
import { showKeys } from "./help.js";
import { openRecordings } from "./recordings.js";
import { openReview } from "./review.js";
import { startScheme } from "./scheme.js";
import { Status } from "./status.js";

const HINT = "metst-hint-read";
const status = new Status();
let page = null;
let opening = 0;

function problem(error) {
  const again = el("button", { type: "button", onclick: () => route() }, "Try again");
  const words =
    error instanceof Refused && error.status === 401 ? "This address is not valid" : "This could not be opened";
  byId("main").replaceChildren(
    el(
      "div",
      { class: "page" },
      el(
        "div",
        { class: "trouble", role: "alert" },
        el("h2", {}, words),
        el("p", {}, error.message),
        el("p", {}, again, " ", el("a", { href: "#/" }, "All recordings")),
      ),
    ),
  );
}

async function route() {
  const [, kind, rid, part] = location.hash.split("/").map(decodeURIComponent);
  const mine = (opening += 1);
  page?.close();
  page = null;
  status.idle();
  byId("hint").hidden = true;
  byId("main").replaceChildren(el("p", { class: "loading-words" }, "Loading…"));
  try {
    // what is opened asks for its own things meanwhile, and shows nothing when it is no longer wanted
    const common = { rid, session: get("/api/session"), status, wanted: () => mine === opening };
    let opened;
    if (kind !== "r" || !rid) opened = await openRecordings(common);
    else if (part === "agreement") opened = await openAgreement(common);
    else opened = await openReview({ ...common, layerName: part || null });
    if (!opened) return;
    page = opened;
    if (page.saving) byId("hint").hidden = Boolean(localStorage.getItem(HINT));
  } catch (error) {
    if (mine === opening) problem(error);
    if (!(error instanceof Refused)) console.error(error);
  }
}

startScheme();
byId("keys").addEventListener("click", () => showKeys());
byId("hint-read").addEventListener("click", () => {
  localStorage.setItem(HINT, "1");
  byId("hint").hidden = true;
});
// a button that was clicked gives the keys back to the page; one that was pressed by key keeps its focus
document.addEventListener("click", (event) => event.detail > 0 && event.target.closest?.("button, summary")?.blur());
window.addEventListener("hashchange", route);
// the token is in the cookie now: it stays neither in the address nor in the history of the browser
if (location.search) history.replaceState(null, "", `${location.pathname}${location.hash}`);
route();
