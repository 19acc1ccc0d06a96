// 3_chain/chain.js - a link of the chain in Node: says what reached it, after the next link has.
const nebula = require("nebula");

async function ask(request, { metadata, timeRemaining }) {
  const trace = metadata.get("trace");
  const rest = await nebula.service(process.argv[2]).ask({}, { metadata: { trace } });
  return [`node    ${(timeRemaining / 1000).toFixed(3)} s left  trace ${trace}`, ...rest];
}

nebula.run(new nebula.Service("chain-node", { ask }));
