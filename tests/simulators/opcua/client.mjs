// A client of the sorter that shares nothing with its server: node-opcua. Prints what it finds as one line of JSON.
//
//   node client.mjs MODULES URL
//
// It reads, follows Status.MachSpeed while it writes the set point, writes what cannot be, and leaves.
import { once } from "node:events";
import { createRequire } from "node:module";
const {
  AttributeIds, DataType, MessageSecurityMode, OPCUAClient, SecurityPolicy, TimestampsToReturn,
} = createRequire(`${process.argv[2]}/`)("node-opcua");

const client = OPCUAClient.create({
  endpointMustExist: false, connectionStrategy: { maxRetry: 0 },
  securityMode: MessageSecurityMode.None, securityPolicy: SecurityPolicy.None,
});
await client.connect(process.argv[3]);
const session = await client.createSession();
const uris = await session.readNamespaceArray();
const conveyor = (name) => `ns=${uris.indexOf("urn:hub:conveyor")};s=${name}`;
const packml = (name) => `ns=${uris.indexOf("http://opcfoundation.org/UA/PackML/")};s=${name}`;
const read = async (nodeId) => {
  const { value, statusCode, sourceTimestamp } = await session.read({ nodeId, attributeId: AttributeIds.Value });
  return [DataType[value.dataType], [...[value.value].flat()], statusCode.name, sourceTimestamp];
};
const write = async (nodeId, dataType, value) => {
  const item = { nodeId, attributeId: AttributeIds.Value, value: { value: { dataType, value } } };
  return (await session.write(item)).name;
};

const found = {
  speed: await read(conveyor("Sorter.Speed")),
  state: await read(packml("Status.StateCurrent")),
  chutes: (await session.read({ nodeId: conveyor("Sorter.ChuteCounts"), attributeId: AttributeIds.Value })).value.value,
  browsed: (await session.browse(packml("Status"))).references.map((each) => each.browseName.name),
};
const subscription = await session.createSubscription2({
  requestedPublishingInterval: 50, requestedMaxKeepAliveCount: 10, requestedLifetimeCount: 100, publishingEnabled: true,
});
const item = await subscription.monitor(
  { nodeId: packml("Status.MachSpeed"), attributeId: AttributeIds.Value },
  { samplingInterval: 50, queueSize: 10 }, TimestampsToReturn.Both,
);
const [first] = await once(item, "changed");
const next = once(item, "changed");
found.written = await write(conveyor("Sorter.MachSpeed"), DataType.Double, 0.75);
const [second] = await next;
found.followed = [first.value.value, second.value.value];
found.refused = [
  await write(conveyor("Sorter.MachSpeed"), DataType.Double, 9),
  await write(packml("Command.CntrlCmd"), DataType.Int32, 8),
  await write(packml("Command.CntrlCmd"), DataType.Float, 4),
];
await subscription.terminate();
await session.close();
await client.disconnect();
console.log(JSON.stringify(found));
process.exit(0);
