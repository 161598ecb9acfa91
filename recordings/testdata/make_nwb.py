"""Makes nwb_like.nwb: the layout of NWB files of DiCarlo's lab, as far as it is read. Needs h5py."""

import h5py
import numpy as np

random = np.random.default_rng(0)
rates = random.integers(0, 5, (3, 4, 2, 5)).astype(np.float32)  # units, stimuli, repetitions, bins
rates[1, 2, 1] = np.nan  # padding
with h5py.File("nwb_like.nwb", "w", libver="earliest") as file:
    file.create_dataset("scratch/psth_pipeline_format", data=rates)
    spikes = file.create_group("processing/ecephys/BinnedAlignedSpikesToStimulus")
    spikes.attrs["bin_width_in_milliseconds"] = 10.0
    spikes.attrs["milliseconds_from_event_to_first_bin"] = -20.0
np.save("nwb_like.npy", rates)
