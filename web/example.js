import { connect } from "./pulse.js";

// Where a real page takes the token of its sign-in library; `#token=…` keeps this one short.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const pulse = connect({ api: "..", getToken: () => token });
const rows = new Map();

pulse.on("facility", ({ facilityId, name, status }) => {
  if (!rows.has(facilityId)) rows.set(facilityId, document.createElement("li"));
  const row = rows.get(facilityId);
  row.textContent = `${name}: ${status}`;
  if (status === "removed") row.remove();
  else if (!row.isConnected) document.querySelector("#facilities").append(row);
});
pulse.on("connection", ({ state, heartbeat }) => {
  document.querySelector("#connection").textContent = `Live updates: ${state}. Heartbeats: ${heartbeat}.`;
});
