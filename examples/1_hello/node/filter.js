// node/filter.js - a filter on each side: a service that refuses strangers, and a caller who says who it is.
const nebula = require("nebula");

function refusing(call, next) {
  if (call.metadata.get("token") === "secret") return next();
  throw new nebula.RpcError(nebula.Status.UNAUTHENTICATED, "who are you?");
}

function introducing(call, next) {
  call.addMetadata("token", "secret");
  return next();
}

const greet = ({ name }) => `Hello ${name}!`;

async function main() {
  const server = await nebula.serve(new nebula.Service("guarded", { greet }, { filters: refusing }));
  await nebula.service("guarded").greet({ name: "Ada" }).catch((error) => console.log(`${error}`));
  console.log(await nebula.service("guarded", { filters: introducing }).greet({ name: "Ada" }));
  server.close();
}

main();
