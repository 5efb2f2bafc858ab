// Puts the parts of the page together.

import { Connection } from "/connection.js";
import { Controls } from "/controls.js";
import { EventList } from "/events.js";
import { byId, setHidden, setSaid, setText } from "/format.js";
import { text, translate } from "/language.js";
import { LiveView } from "/live.js";
import { ModelPanel } from "/models.js";
import { Pad } from "/pad.js";
import { ServiceList } from "/services.js";

translate();
const connection = new Connection();
const live = new LiveView(connection);
const events = new EventList(connection);
const services = new ServiceList();
const controls = new Controls();
const pad = new Pad(connection);
const models = new ModelPanel((model) => pad.compare(model));

let build = null;
let openBefore = null;

connection.addEventListener("board", ({ detail: board }) => {
  if (build !== null && board.build !== build) location.reload(); // the car was updated
  build = board.build;
  setText(byId("car"), board.car);
  document.title = `${board.car} – smartcar`;
  setSaid(byId("warning"), board.warning);
  setHidden(byId("warning"), !board.warning);
  services.show(board.services, board.glance);
  live.showServices(board.services);
  events.showServices(board.services);
  controls.show(board);
  pad.show(board.services);
  models.showServices(board.services);
});

connection.addEventListener("events", ({ detail }) => events.show(detail));
connection.addEventListener("model", ({ detail }) => models.show(detail));
connection.addEventListener("picture", ({ detail }) => live.show(detail));
byId("pad-beside").addEventListener("end", () => models.comparing(""));

connection.addEventListener("state", ({ detail: { open, sentence } }) => {
  if (open === openBefore && open) return;
  openBefore = open;
  const pill = byId("connection");
  pill.dataset.state = open ? "ready" : "silent";
  setText(pill, text(open ? "connection.open" : "connection.closed"));
  setText(byId("trouble"), open ? "" : sentence);
  setHidden(byId("trouble"), open);
  if (!open) {
    services.forget();
    controls.forget();
    pad.forget();
    models.forget();
  }
});

connection.start();
