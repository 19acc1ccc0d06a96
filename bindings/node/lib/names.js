// names.js - how methods and options are named and checked.
"use strict";

const SERVICE = /^(?!\.)[A-Za-z0-9_.-]{1,200}$/; // what the engine's registries accept

function checkService(name) {
  if (typeof name === "string" && SERVICE.test(name)) return name;
  const given = JSON.stringify(name);
  throw new TypeError(`${given} is not a service's name: 1 to 200 of [A-Za-z0-9_.-], not beginning with a dot`);
}

/** "/shop.v1.Cart/Add", for that or for "shop.v1.Cart.Add". */
function pathOf(method) {
  if (typeof method === "string") {
    if (method.startsWith("/")) return method;
    const dot = method.lastIndexOf(".");
    if (dot > 0 && dot < method.length - 1) return `/${method.slice(0, dot)}/${method.slice(dot + 1)}`;
  }
  throw new TypeError(`${JSON.stringify(method)} is no method: service.method, or /service/method`);
}

/** How a method is named to people: "shop.v1.Cart.Add". */
const labelOf = (path) => path.slice(1).replace("/", ".");

/** What is wrong with a message of a method, as a sentence. */
const about = (label, why) => (why.startsWith("has no field") ? `${label} ${why}` : `${label}: ${why}`);

/** Options that are numbers of the engine's; undefined is its default. Throws TypeError naming the one at fault. */
function numbersOf(options, names) {
  const numbers = {};
  for (const name of names) {
    const value = Number(options[name] ?? 0);
    if (!(value >= 0 && value <= 0xffffffff)) {
      throw new TypeError(`${name} is a number from 0 to 2^32 - 1, not ${options[name]}`);
    }
    numbers[name] = Math.ceil(value);
  }
  return numbers;
}

/** A typing error in an option must not go unnoticed. */
function checkOptions(options, known) {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`there is no option ${name}; there are: ${known.join(", ")}`);
  }
}

/** Files of a TLS object, as the addon reads them. Throws TypeError for what is none. */
function tlsOf(tls) {
  if (tls === undefined) return undefined;
  if (typeof tls !== "object" || tls === null) throw new TypeError("tls is an object of files");
  checkOptions(tls, ["certificate", "key", "authorities", "serverName"]);
  for (const [name, value] of Object.entries(tls)) {
    if (value !== undefined && typeof value !== "string") throw new TypeError(`${name} of tls is a string`);
  }
  return tls;
}

module.exports = { about, checkOptions, checkService, labelOf, numbersOf, pathOf, tlsOf };
