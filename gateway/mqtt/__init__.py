"""MQTT connections whose every message is accounted for: published, acknowledged, refused, or known to be unresolved.

broker = Broker(settings, client_id="hub-gateway-lgg-sort-01", will=(topic, payload))
async with broker.connect() as connection:          raises DestinationUnavailable
    await connection.room()                          waits for the window
    connection.publish(topic, payload, token=(17,))  immediate
    await connection.acknowledgements()              [(token, code, …), …]
    await connection.subscribe(topic_filter)         then: await connection.received(), await connection.respond(…)
"""

from gateway.mqtt.broker import Broker
from gateway.mqtt.connection import GOODBYE_S, Acknowledgement, Connection, Token
from gateway.mqtt.packets import Received
from gateway.mqtt.reasons import DestinationUnavailable, MessageTooLarge, Verdict, is_about_the_topic, verdict, words

__all__ = [
    "GOODBYE_S",
    "Acknowledgement",
    "Broker",
    "Connection",
    "DestinationUnavailable",
    "MessageTooLarge",
    "Received",
    "Token",
    "Verdict",
    "is_about_the_topic",
    "verdict",
    "words",
]
