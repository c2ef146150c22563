// An OPC UA server that shares nothing with the driver: node-opcua. Prints one JSON line when it listens; reads
// commands, one JSON array a line, from standard input and answers each with a line.
//
//   node server.mjs PORT FOLDER
//
// It keeps its certificate in FOLDER. User gw, password hunter2. Nobody is refused for an unknown certificate unless
// it says ["strict"].
import readline from "node:readline";
import path from "node:path";
import {
  DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes, Variant,
  VariantArrayType,
} from "node-opcua";

const [port, folder] = process.argv.slice(2);
const trust = new OPCUACertificateManager({
  automaticallyAcceptUnknownCertificate: true,
  rootFolder: path.join(folder, "pki"),
});
const users = new OPCUACertificateManager({
  automaticallyAcceptUnknownCertificate: true,
  rootFolder: path.join(folder, "users"),
});
await trust.initialize();
await users.initialize();
const server = new OPCUAServer({
  port: Number(port),
  hostname: "127.0.0.1",
  resourcePath: "/plant",
  serverInfo: { applicationUri: "urn:hub:node-plant", productUri: "urn:hub:node-plant" },
  serverCertificateManager: trust,
  userCertificateManager: users,
  securityPolicies: [
    SecurityPolicy.None, SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep,
    SecurityPolicy.Aes256_Sha256_RsaPss,
  ],
  securityModes: [MessageSecurityMode.None, MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt],
  allowAnonymous: true,
  userManager: { isValidUser: (name, password) => name === "gw" && password === "hunter2" },
  serverCapabilities: {
    operationLimits: { maxNodesPerRead: 10, maxMonitoredItemsPerCall: 7, maxNodesPerTranslateBrowsePathsToNodeIds: 5 },
  },
});
await server.initialize();

const space = server.engine.addressSpace;
const ours = space.registerNamespace("urn:hub:conveyor");
const machine = ours.addObject({ organizedBy: space.rootFolder.objects, browseName: "Machine", nodeId: "s=Machine" });
const add = (name, dataType, value, more = {}) =>
  ours.addVariable({
    componentOf: machine, browseName: name, nodeId: `s=${name}`, dataType, minimumSamplingInterval: 10,
    value: { dataType, value, ...more }, ...(more.arrayType === VariantArrayType.Array ? { valueRank: 1, arrayDimensions: [value.length] } : {}),
  });
const nodes = {
  Speed: add("Speed", DataType.Double, 0),
  Float: add("Float", DataType.Float, 1.42),
  Count: add("Count", DataType.UInt32, 1),
  Big: add("Big", DataType.Int64, [0x7fffffff, 0xffffffff], { arrayType: VariantArrayType.Scalar }),
  Name: add("Name", DataType.String, "parcel"),
  Running: add("Running", DataType.Boolean, true),
  Since: add("Since", DataType.DateTime, new Date("2026-01-02T03:04:05Z")),
  Weights: add("Weights", DataType.Double, new Float64Array([10, 20, 30]), { arrayType: VariantArrayType.Array }),
};
nodes.Broken = ours.addVariable({
  componentOf: machine, browseName: "Broken", nodeId: "s=Broken", dataType: DataType.Double,
});
nodes.Broken.setValueFromSource({ dataType: DataType.Double, value: 0 }, StatusCodes.BadSensorFailure);
for (let i = 0; i < 30; i += 1) add(`Many${i}`, DataType.Int32, i);

nodes.Range = ours.addVariable({
  componentOf: machine, browseName: "Range", nodeId: "s=Range", dataType: "Range",
  value: {
    dataType: DataType.ExtensionObject,
    value: space.constructExtensionObject(space.findDataType("Range"), { low: 4.5, high: 20 }),
  },
});

const commands = {
  write: (name, type, value) => nodes[name].setValueFromSource(new Variant({ dataType: DataType[type], value })),
  status: (name, status) => nodes[name].setValueFromSource(
    { dataType: DataType.Double, value: 0 }, StatusCodes[status]),
  read: (name) => nodes[name].readValue().value.value,
  strict: () => { trust.automaticallyAcceptUnknownCertificate = false; },
  sessions: () => server.engine.currentSessionCount,
  subscriptions: () => server.engine.currentSubscriptionCount,
};
await server.start();
console.log(JSON.stringify({ ready: server.getEndpointUrl() }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  console.log(JSON.stringify({ answer: commands[name](...given) ?? null }));
}
await server.shutdown(10);
process.exit(0);
