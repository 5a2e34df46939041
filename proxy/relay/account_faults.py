"""
What providers say when a key or an account is at fault: one row for each thing that is known.

Data only, a part of `faults`.
"""

from proxy.relay.fault_sources import (
    ANTHROPIC,
    ARK,
    BEDROCK,
    BUDGETS,
    DASHSCOPE,
    DEEPSEEK,
    FIREWORKS,
    GEMINI,
    GOOGLE,
    GROQ,
    LITELLM,
    MINIMAX,
    MOONSHOT,
    NEW_API,
    OPENAI,
    OPENROUTER,
    TOGETHER,
    XAI,
    ZAI,
)
from proxy.relay.meaning import Meaning, Row

KEY, MONEY = Meaning.KEY, Meaning.MONEY

BELOW_500 = range(500)
"""A 4xx, or an error in a 200 that tells no status: a provider that failed has not looked at keys and money."""

KEYS = (
    Row(KEY, OPENAI, codes=("invalid_api_key", "account_deactivated", "invalid_organization", "project_archived")),
    Row(KEY, OPENAI, codes=("api_key_expired", "expired_api_key", "api_key_revoked", "api_key_disabled")),
    Row(KEY, GOOGLE, codes=("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED")),
    Row(KEY, GOOGLE, codes=("API_KEY_HTTP_REFERRER_BLOCKED", "CONSUMER_INVALID", "CONSUMER_SUSPENDED")),
    Row(KEY, GOOGLE, codes=("SERVICE_DISABLED", "ACCESS_TOKEN_EXPIRED", "ACCOUNT_STATE_INVALID")),
    Row(KEY, GROQ, codes=("organization_restricted", "organization_disabled", "account_disabled", "account_suspended")),
    Row(KEY, NEW_API, codes=("invalid_token", "token_expired", "token_disabled")),
    Row(KEY, MINIMAX, codes=("base_resp.1004", "base_resp.2049")),
    Row(KEY, ANTHROPIC, types=("authentication_error", "AuthenticationError", "UNAUTHENTICATED"), statuses=BELOW_500),
    Row(KEY, MOONSHOT, types=("invalid_authentication_error", "incorrect_api_key_error"), statuses=BELOW_500),
    Row(KEY, BEDROCK, types=("UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException")),
    Row(
        KEY,
        XAI,
        words=r"(?:incorrect|invalid|wrong|unknown|expired|malformed|missing|no)"
        r" (?:api[ _-]?key|api token|access token)\b"
        r"|(?:the )?(?:invalid|incorrect|missing) (?:authentication|authorization) (?:credentials?|token|header)\b",
        statuses=BELOW_500,
    ),
    Row(
        KEY,
        GEMINI,
        words=r"(?:the |your |this )?(?:provided )?(?:api[ _-]?key|api token|access token)(?: provided)?"
        r"(?: you provided)?(?: (?:is|was|has|has been|is currently))? (?:not valid|invalid|incorrect|not found|expired"
        r"|disabled|blocked|revoked|deactivated|suspended|deleted|reported as leaked)\b",
        statuses=BELOW_500,
    ),
    Row(
        KEY,
        GOOGLE,
        words=r"method doesn't allow unregistered callers|the request is missing a valid api key",
        statuses=BELOW_500,
    ),
    Row(
        KEY,
        "https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html",
        words=r"authentication failed: please make sure your api key is valid|bearer token has expired",
        statuses=BELOW_500,
    ),
    # What follows the comma may be the budget of the caller's `user`, which is no key's.
    Row(KEY, LITELLM, words=r"authentication error(?:\W*$|, (?!exceededbudget: end user))", statuses=BELOW_500),
    Row(
        KEY,
        NEW_API,
        types=("new_api_error", "one_api_error"),
        words=r"invalid token\b|无效的令牌|该令牌(?:已过期|状态不可用)",
    ),
    Row(
        KEY,
        "https://github.com/continuedev/continue/issues/10513",
        words=r"permission denied: consumer .{0,40}has been suspended|your project has been denied access",
        statuses=BELOW_500,
    ),
    Row(
        KEY,
        ANTHROPIC,
        words=r"(?:(?:this|your|the) )?(?:organization|account|project|workspace|team)\b.{0,80}?"
        r"(?:has been|is|was) (?:currently )?(?:disabled|deactivated|archived|restricted|locked|banned|terminated)\b",
        statuses=BELOW_500,
    ),
    Row(
        KEY,
        "https://github.com/nat/openplayground/issues/143",
        words=r"(?:the|your) openai account .{0,40}has been deactivated|your account is (?:locked|inactive)",
        statuses=BELOW_500,
    ),
    Row(KEY, OPENROUTER, words=r"no auth credentials found|user not found\.?$", statuses=(0, 400, 401, 403)),
)

MONEY_GONE = (
    Row(MONEY, OPENAI, codes=("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")),
    Row(MONEY, OPENAI, codes=("credit_balance_exhausted", "billing_limit_user_error"), statuses=BELOW_500),
    Row(MONEY, GOOGLE, codes=("BILLING_DISABLED",)),
    Row(MONEY, NEW_API, codes=("insufficient_user_quota", "pre_consume_token_quota_failed")),
    Row(MONEY, DASHSCOPE, codes=("Arrearage",)),
    Row(MONEY, ARK, codes=("AccountOverdueError",)),
    Row(MONEY, TOGETHER, codes=("credit_limit", "insufficient_credits", "insufficient_balance", "insufficient_funds")),
    Row(MONEY, MINIMAX, codes=("base_resp.1008",)),
    Row(MONEY, ZAI, codes=("1113",), statuses=(0, 400, 429)),
    Row(MONEY, OPENAI, types=("insufficient_quota", "billing_not_active", "billing_limit_user_error")),
    Row(MONEY, ANTHROPIC, types=("billing_error", "credit_balance_exhausted"), statuses=BELOW_500),
    Row(MONEY, MOONSHOT, types=("exceeded_current_quota_error",), statuses=BELOW_500),
    Row(
        MONEY,
        ANTHROPIC,
        words=r"your credit balance is too low|you have reached your specified (?:workspace )?api usage limits",
        statuses=BELOW_500,
    ),
    Row(MONEY, OPENAI, words=r"billing hard limit|your account is not active, please check your billing"),
    Row(
        MONEY,
        DEEPSEEK,
        words=r"(?:your account has )?(?:insufficient|not enough) (?:account )?(?:balance|credits?|funds|quota)\b",
        statuses=BELOW_500,
    ),
    Row(
        MONEY,
        "https://huggingface.co/docs/inference-providers/pricing",
        words=r"(?:sorry, )?(?:your )?(?:account |prepaid |pre-paid |api )*(?:credit balance|credits?|balance)"
        r" (?:is|are|has been|have been) (?:currently )?(?:insufficient|exhausted|depleted|used up)\b"
        r"|(?:you|your account) (?:have |has )?r[au]n out of credits?\b|credits? (?:exhausted|depleted)\b",
        statuses=BELOW_500,
    ),
    Row(
        MONEY,
        "https://learn.microsoft.com/azure/api-management/quota-policy",
        words=r"out of (?:call volume|bandwidth) quota",
        statuses=BELOW_500,
    ),
    Row(
        MONEY,
        "https://docs.cohere.com/docs/rate-limits",
        words=r"you are using a trial key, which is limited to [\d,]+ api calls ?/ ?month",
        statuses=BELOW_500,
    ),
    Row(MONEY, BUDGETS, words=r"budget has been exceeded!|exceededtokenbudget: ", statuses=BELOW_500),
    Row(MONEY, BUDGETS, types=("budget_exceeded",), words=r"budget has been exceeded!", statuses=BELOW_500),
    Row(
        MONEY,
        ANTHROPIC,
        types=("rate_limit_error",),
        words=r"your credit balance is too low|you have reached your specified (?:workspace )?api usage limits",
        statuses=BELOW_500,
    ),
    Row(
        MONEY,
        "https://github.com/continuedev/continue/issues/10373",
        words=r"your (?:newly created )?team\b.{0,80}?(?:doesn't have any credits|used all available credits"
        r"|reached its monthly spending limit)",
        statuses=BELOW_500,
    ),
    Row(MONEY, OPENROUTER, words=r"key limit exceeded|your account or api key has insufficient", statuses=BELOW_500),
    Row(
        MONEY,
        FIREWORKS,
        words=r"(?:(?:your|this|the) )?account\b.{0,80}?(?:is|has been) suspended"
        r"|you have (?:exceeded|depleted) your monthly",
        statuses=BELOW_500,
    ),
    Row(MONEY, DASHSCOPE, words=r"access denied, ple\w+ make sure your account is in good standing"),
    Row(
        MONEY,
        ZAI,
        words=r"(?:\[[^\]]{0,40}\] ?)?.{0,12}(?:余额不足|账户已?欠费|额度不足|额度已用尽)",
        statuses=BELOW_500,
    ),
)
