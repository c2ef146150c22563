"""MQTT connections whose every message is accounted for: published, acknowledged, refused, or known to be unresolved.

broker = Broker(settings, client_id="hub-gateway-lgg-sort-01", will=(topic, payload))
async with broker.connect() as connection:          raises DestinationUnavailable
    await connection.room()                          waits for the window
    connection.publish(topic, payload, token=(17,))  immediate
    await connection.acknowledgements()              [(token, code, …), …]
"""

from gateway.mqtt.broker import Broker
from gateway.mqtt.connection import Acknowledgement, Connection, Token
from gateway.mqtt.reasons import DestinationUnavailable, MessageTooLarge, Verdict, verdict, words

__all__ = [
    "Acknowledgement",
    "Broker",
    "Connection",
    "DestinationUnavailable",
    "MessageTooLarge",
    "Token",
    "Verdict",
    "verdict",
    "words",
]
