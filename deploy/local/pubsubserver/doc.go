// Package pubsubserver replaces Pub/Sub, and the part of Eventarc that calls a function, on one
// machine.
//
// A [Server] runs Google's own fake of Pub/Sub (cloud.google.com/go/pubsub/v2/pstest) on a loopback
// port. Clients find it by PUBSUB_EMULATOR_HOST. For each [Route] the server delivers each message of
// a topic to the route's URL when it is published, as Eventarc delivers it to a second-generation
// function:
//
//	POST <target>?__GCP_CloudEventsMode=CE_PUBSUB_BINDING
//	Content-Type: application/json
//	User-Agent: APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)
//	ce-specversion: 1.0
//	ce-id: <message id>
//	ce-type: google.cloud.pubsub.topic.v1.messagePublished
//	ce-source: //pubsub.googleapis.com/projects/<project>/topics/<topic>
//	ce-time: <publish time>
//
//	{
//	  "message": {
//	    "data": "<base64>", "attributes": {}, "messageId": "…", "message_id": "…",
//	    "publishTime": "…", "publish_time": "…"
//	  },
//	  "subscription": "projects/<project>/subscriptions/eventarc-local-<topic>-<n>"
//	}
//
// With [Route].Push a message is delivered as a push subscription delivers it
// (https://cloud.google.com/pubsub/docs/push#wrapped). The body is the same, but for the
// subscription push-local-<topic>-<n>. The target gets no extra query, and there are no ce-
// headers.
//
// A route with a service account sends an ID token of that account as "Authorization: Bearer …".
// [Options].Signer creates a token for each delivery.
//
// A delivery fails if it is not answered 2xx within the ack deadline. It is repeated with an
// exponential back-off until it succeeds, or until the message is older than the retention.
//
// A message can carry a W3C trace context in the attribute googclient_traceparent, which Google's
// clients write with OpenTelemetry, or in the attribute traceparent. It is sent as the traceparent
// header of the delivery. Real Pub/Sub starts a trace of its own instead. Here the publisher's
// trace continues, so that the log of one machine can be followed.
//
// # Limits
//
//   - All messages are in memory. Messages that are not delivered yet are lost when the process
//     ends.
//   - The port requires no credentials. It is therefore bound to loopback only.
//   - The first retry is after 1 s, and the interval doubles up to 60 s. Eventarc's subscriptions
//     wait from 10 to 600 s. The order of messages is not kept.
//   - There is no dead-letter policy. Filters, schemas and ordering work as far as pstest supports
//     them.
//   - pstest never forgets a message. The server clears it when it holds about 8 MiB. Clearing is
//     not safe with subscriptions of other programs: once one is created, messages are kept until
//     the process ends, and pstest looks for messages every 10 ms.
//   - The subscription of a route is a name in its deliveries. It is not listed.
//   - pstest numbers messages m0, m1, … in each process. Publishers and routes see ids that are
//     unique across restarts: the start time, and the number. Subscriptions of other programs see
//     the short ids.
package pubsubserver
