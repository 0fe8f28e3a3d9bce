// The story of test_outside_clients.py, told by AWS's own SDK for JavaScript. Prints one line of JSON.
import {
  ApproveAssignmentCommand, CreateHITCommand, GetAccountBalanceCommand, GetHITCommand, MTurkClient, RequestError,
  SendBonusCommand, UpdateExpirationForHITCommand, paginateListAssignmentsForHIT, paginateListHITs,
} from "@aws-sdk/client-mturk";
import { createInterface } from "node:readline/promises";

const client = new MTurkClient({ endpoint: process.argv[2], region: "us-east-1" });
const send = (command) => client.send(command);
const failure = async (command) => {
  try {
    await send(command);
    return null;
  } catch (error) {
    return { modeled: error instanceof RequestError, code: error.TurkErrorCode, message: error.message };
  }
};

const said = {};
said.balance = (await send(new GetAccountBalanceCommand({}))).AvailableBalance;
const values = {
  Title: "From Node", Description: "ñ <b>&\"'", Reward: "0.10", LifetimeInSeconds: 3600, MaxAssignments: 2,
  AssignmentDurationInSeconds: 600, Question: process.argv[3], UniqueRequestToken: "node-1",
};
const hit = (await send(new CreateHITCommand(values))).HIT;
for (let n = 2; n <= 5; n++) {
  await send(new CreateHITCommand({ ...values, Title: `From Node ${n}`, UniqueRequestToken: `node-${n}` }));
}
said.repeated = await failure(new CreateHITCommand(values));
said.missing = await failure(new GetHITCommand({ HITId: "3NOSUCHHIT" }));
const found = [];
for await (const page of paginateListHITs({ client, pageSize: 2 }, {})) found.push(...page.HITs.map((one) => one.HITId));
said.listed = found;
console.log(JSON.stringify({ hit_id: hit.HITId, hit_type_id: hit.HITTypeId, description: hit.Description }));

// The test lets two people answer, and says so by a line.
for await (const _ of createInterface({ input: process.stdin })) break;
await send(new UpdateExpirationForHITCommand({ HITId: hit.HITId, ExpireAt: new Date(0) }));
said.status = (await send(new GetHITCommand({ HITId: hit.HITId }))).HIT.HITStatus;
const answers = [];
for await (const page of paginateListAssignmentsForHIT({ client, pageSize: 1 }, { HITId: hit.HITId })) {
  answers.push(...page.Assignments);
}
said.answers = answers.length;
for (const { AssignmentId, WorkerId } of answers) {
  await send(new ApproveAssignmentCommand({ AssignmentId }));
  await send(new SendBonusCommand({ AssignmentId, WorkerId, BonusAmount: "0.50", Reason: "Good", UniqueRequestToken: AssignmentId }));
}
const [first] = answers;
said.again = await failure(new ApproveAssignmentCommand({ AssignmentId: first.AssignmentId }));
console.log(JSON.stringify(said));
process.exit(0);
