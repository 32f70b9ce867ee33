"""The assistant: a conversation with a model, notifications, and a look at how the tasks fare."""

from tasks.packs.assistant.addresses import delete_conversation, list_conversations, read_conversation
from tasks.packs.assistant.generation import generate_ai_response
from tasks.packs.assistant.notification import send_notification
from tasks.packs.assistant.pack import ASSISTANT
from tasks.packs.assistant.upkeep import check_task_health, cleanup_expired_results

__all__ = [
    "ASSISTANT",
    "check_task_health",
    "cleanup_expired_results",
    "delete_conversation",
    "generate_ai_response",
    "list_conversations",
    "read_conversation",
    "send_notification",
]
