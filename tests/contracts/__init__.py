import pytest

pytest.register_assert_rewrite("tests.contracts.dialect", "tests.contracts.model_server_contract")
