// Package pubsubserver is Pub/Sub, and the part of Eventarc that calls a function, on one machine.
//
// A [Server] runs Google's own fake of Pub/Sub (cloud.google.com/go/pubsub/v2/pstest) on a loopback port, for
// clients that find it by PUBSUB_EMULATOR_HOST, and a bridge: it pulls each routed topic with Google's client and delivers every
// message to the route's URL as Eventarc delivers it to a function of the second generation:
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
//	{"message":{"data":"<base64>","attributes":{},"messageId":"…","message_id":"…","publishTime":"…","publish_time":"…"},
//	 "subscription":"projects/<project>/subscriptions/eventarc-local-<topic>-<n>"}
//
// A route with Push is delivered as a push subscription delivers (https://cloud.google.com/pubsub/docs/push#wrapped): the same body,
// of the subscription push-local-<topic>-<n>, to the target as it is and without the ce- headers. A route with a service account carries its
// ID token as "Authorization: Bearer …", which Options.Signer makes for each delivery.
//
// A delivery that is not answered 2xx within the ack deadline is repeated, with a back-off that doubles, until it is, or
// until the message is older than the retention.
//
// A message whose attributes name a W3C trace context, as googclient_traceparent (written by Google's clients with OpenTelemetry) or as
// traceparent, is delivered with that traceparent header. Google's push sends a trace of its own instead; here the trace of
// the publisher goes on, so that the log of one machine can be followed.
//
// # Limits
//
//   - Everything is in memory: messages not yet delivered are lost when the process ends.
//   - The port asks for no credentials. It is therefore bound to loopback only.
//   - Delivery begins again after 1 s, doubling to 60 s; Eventarc's subscriptions wait 10 to 600 s. Order is not kept.
//   - No dead-letter policy; filters, schemas and ordering are as far as pstest has them.
//   - pstest keeps every message for ever. The server clears it at a moment when every message is acknowledged, while publishers wait
//     for at most half a second. That is not safe with subscriptions other than its own: once one is created through the port,
//     messages are kept until the process ends.
//   - pstest numbers messages m0, m1, … anew in each process. Publishers and routes see ids that do not come again (the time of
//     the start and the number); a subscription made through the port sees the short ones.
package pubsubserver
