using System.Security.Cryptography;
using SdnEdge.Linux;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage;

// Its volumes at the start.
public sealed partial class StoreAgent
{
    // What is there is opened, and what is named and not there is made.
    private void OpenVolumes()
    {
        foreach (string known in _store.Names())
        {
            VolumeConfig? named = _config.Volumes.FirstOrDefault(v => v.Name == known && v.Replica is not null);
            if (named is null) Try(known, () => _store.Open(known, Options));
            else TryReplicated(named, options => _store.Open(known, options));
        }

        foreach (VolumeConfig named in _config.Volumes)
        {
            if (_volumes.TryGetValue(named.Name, out Volume? there))
            {
                if (there.Size != named.Size && named.Image is null)
                {
                    Fault(named.Name, $"volume {named.Name} has {there.Size} bytes, and its configuration says {named.Size}; it is served "
                        + "as it is: " + (named.Size > there.Size
                            ? $"make it larger with 'sdnedge store resize {named.Name} {named.Size}', at the store that owns it, or "
                                + "correct the configuration"
                            : $"correct the configuration to size: {there.Size}"));
                }

                continue;
            }

            if (_faults.ContainsKey(named.Name)) continue;
            if (named.Replica is not null)
            {
                TryReplicated(named, options => named.Image is { } exists ? _store.Import(named.Name, exists, options, IdentityOf(named))
                    : _store.Create(named.Name, named.Size, options, IdentityOf(named)));
                continue;
            }

            Try(named.Name, () => named.Image is { } image ? _store.Import(named.Name, image, Options)
                : _store.Create(named.Name, named.Size, Options));
        }
    }

    private void Try(string name, Func<Volume> open)
    {
        try
        {
            Serve(open());
        }
        catch (VolumeException e)
        {
            Fault(name, e.Message.StartsWith("volume ", StringComparison.Ordinal) ? e.Message : $"volume {name}: {e.Message}");
        }
    }

    private void TryReplicated(VolumeConfig named, Func<VolumeOptions, Volume> open)
    {
        Volume? volume = null;
        try
        {
            var gate = new AnswerGate();
            volume = open(Options with { Gate = gate, HoldsBack = true });
            string name = named.Name, peer = named.Replica!;
            if (volume.Metadata.Identity != IdentityOf(named))
            {
                throw new IOException($"volume {name} has the identity {volume.Metadata.Identity}, and its replica at {peer} would have "
                    + $"{IdentityOf(named)}; write id: {volume.Metadata.Identity} beside replica: at both stores, or take replica: out");
            }

            var files = new VolumeFiles(Path.Combine(_config.StateFolder, name), volume.Metadata.Identity);
            var around = new VolumeSurroundings(peer, cancel => _link!.ConnectAsync(peer, name, cancel),
                keep => _server.Disconnect(c => c.Export == name && !keep(IdentityOf(c.Client))),
                (change, detail) => Events.Add(Monotonic.Now, "volume", name, change, detail))
            {
                Report = _reporter is { } reporter ? reporter.ReportAsync : null,
            };
            var link = new LinkOptions { Compression = _config.Replication!.Compression };
            var replicated = new ReplicatedVolume(volume, gate, files, named.Owner, named.Mode, named.Policy, link, around);
            _replicated[name] = replicated;
            Serve(volume, client => new ClientView(replicated, IdentityOf(client)));
        }
        catch (IOException e)
        {
            volume?.Dispose();
            Fault(named.Name, e.Message);
        }
    }

    // The same at both stores, without a word between them: chain and content root are keyed by it.
    private Guid IdentityOf(VolumeConfig volume)
    {
        if (volume.Identity is { } named) return named;
        string[] stores = [.. ((string[])[_config.Name, volume.Replica!]).Order(StringComparer.Ordinal)];
        return new Guid(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes($"{volume.Name}\n{stores[0]}\n{stores[1]}"))[..16]);
    }
}
