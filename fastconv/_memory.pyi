from typing import final

large_result: int

@final
class ResultMemory:
    def __init__(self, size: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
