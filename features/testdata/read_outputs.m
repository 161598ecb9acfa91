% Opens the .mat and netCDF outputs of a folder with Octave and compares them with
% what was written.
% usage: octave-cli read_outputs.m FOLDER, which holds mat, features.nc,
% features.logits.nc, <array>.f4, ids.txt and provenance.txt.
1;
pkg load netcdf
folder = argv(){end};

function values = floats(folder, name)
  f = fopen(fullfile(folder, [name ".f4"]), "r", "ieee-le");
  values = fread(f, Inf, "single=>single");
  fclose(f);
end
ids = strsplit(fileread(fullfile(folder, "ids.txt")), "\n", "collapsedelimiters", false);
provenance = fileread(fullfile(folder, "provenance.txt"));
valid = floats(folder, "valid") != 0;

for name = {"conv9", "imnetds", "logits"}
  m = load(fullfile(folder, "mat", [name{1} ".mat"]));
  assert(class(m.features), "single");
  assert(m.features(:), floats(folder, name{1}));
  assert(m.layer, name{1});
  assert(m.provenance, provenance);
  assert(class(m.valid), "logical");
  assert(m.valid, valid);
  assert(size(m.stimulus_id), [6 1]);
  for i = 1:6
    assert(char(m.stimulus_id{i}), char(ids{i}));
  end
  assert(m.weight, (0:5)' / 3);
  assert(m.count, int64((-1:4)'));
  assert(m.flag, logical([1 0 1 0 1 0]'));
end
m = load(fullfile(folder, "mat", "conv9.mat"));
assert(size(m.features), [5 2 2 3 6]);   % channel, width, height, timestep, stimulus
assert(m.ms, int32([0 10 20]'));
assert(m.driven, logical([0 1 1]'));
assert(m.region, "IT");

nc = fullfile(folder, "features.nc");
data = ncread(nc, "data");                % time bin, neuroid, presentation
assert(size(data), [3 27 6]);
conv9 = permute(reshape(floats(folder, "conv9"), [20 3 6]), [2 1 3]);
assert(data(:, 1:20, :), conv9);
imnetds = permute(reshape(floats(folder, "imnetds"), [7 3 6]), [2 1 3]);
assert(data(:, 21:27, :), imnetds);
assert(ncread(nc, "weight"), (0:5)' / 3);
assert(logical(ncread(nc, "valid")), valid);
text = ncread(nc, "stimulus_id");
for i = 1:6
  assert(strrep(text(:, i)', char(0), ""), char(ids{i}));
end
assert(ncreadatt(nc, "/", "provenance"), provenance);
logits = ncread(fullfile(folder, "features.logits.nc"), "data");
assert(logits(:), floats(folder, "logits"));
disp("all the same")
