"""The driver epoch: from the module's folder, from the plant of a simulated node, or not available."""

from energy_agent.devices.nvml.driver_epoch import driver_epoch, driver_epoch_for, simulated_driver_epoch
from tests.energy_agent.nodes import make_plant


def test_a_module_that_is_loaded_anew_has_another_epoch_and_one_that_stays_the_same(tmp_path):
    module = tmp_path / "module/nvidia"
    module.mkdir(parents=True)
    first = driver_epoch(tmp_path)
    (module / "refcnt").write_text("3")
    assert driver_epoch(tmp_path) == first != ""
    module.rename(tmp_path / "gone")  # kept, so that its number cannot be given out again: sysfs does not do that either
    assert driver_epoch(tmp_path) == driver_epoch(tmp_path / "none") == driver_epoch(tmp_path / "gone/refcnt") == ""
    module.mkdir()
    assert driver_epoch(tmp_path) not in ("", first)


def test_a_simulated_node_has_its_own(tmp_path):
    (tmp_path / "module/nvidia").mkdir(parents=True)
    with make_plant(tmp_path / "node", 2, manual=True) as plant:
        environ = {"WATTLENS_SIM": str(tmp_path / "node")}
        epochs = [driver_epoch_for(environ, tmp_path)]
        for gpu in (0, 1):
            plant.fault(gpu, "driver_reload")
            epochs.append(driver_epoch_for(environ, tmp_path))
        plant.fault(0, "counter_reset")
        assert driver_epoch_for(environ, tmp_path) == epochs[-1]
    with make_plant(tmp_path / "node", 2, manual=True):  # another machine in its place, though as many loads old
        epochs.append(driver_epoch_for(environ, tmp_path))
    assert len({"", *epochs, driver_epoch(tmp_path)}) == 6
    assert simulated_driver_epoch(tmp_path / "none") == ""
